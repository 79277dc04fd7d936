import { serveModel } from "./api/worker-host.ts";

// The script that `InternVLWorker` starts. With a bundler that does not find it by itself, start it as a module worker and hand
// it to `InternVLWorker.load(source, { worker })`.
// Where it is imported outside of a worker (Node has no such scope) there is nobody to serve.
if ("addEventListener" in globalThis) serveModel(globalThis as unknown as Parameters<typeof serveModel>[0]);
