/**
 * The script of the model's worker. The library starts it by itself; a page whose rules forbid that starts it as a module worker of its own and hands it
 * to `InternVL.load(source, { worker })`.
 *
 * @module internvl-webgpu/worker-thread
 */

import { serveModel } from "./api/worker-host.ts";

// Imported outside of a worker (Node has no such scope) there is nobody to serve.
if ("addEventListener" in globalThis) serveModel(globalThis as unknown as Parameters<typeof serveModel>[0]);
