import { webStore } from "../../../src/platform/web-store.ts";
import { STORE_CASES } from "../../store-cases.ts";

// Runs one case in a dedicated worker, where files are written through synchronous handles.
self.onmessage = async ({ data: { name, root } }: MessageEvent<{ name: string; root: string }>) => {
  try {
    const sync = "createSyncAccessHandle" in FileSystemFileHandle.prototype;
    if (!sync) throw new Error("this worker has no createSyncAccessHandle");
    await STORE_CASES[name]!(webStore(root));
    self.postMessage("passed");
  } catch (error) {
    self.postMessage(`${(error as Error).name}: ${(error as Error).message}`);
  }
};
