// Runs the built program many times in one process, as it is: what a start costs, and what SwiftShader compiles, is paid once. A message
// { args, cwd } is answered by { status, stdout, stderr }. What is about signals, pipes and a process's end has processes of its own.
import { setMaxListeners } from "node:events";
import { readdirSync, readlinkSync } from "node:fs";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { globals } from "webgpu";

const main = new URL("../../dist/tools/cli/main.js", import.meta.url).href;

setMaxListeners(0); // a run counts on the end of its process to take what it listens to

// One device an adapter, that keeps its pipelines: Dawn finds one that it has made before. It is destroyed at the end.
const destroys = [];
const devices = new Map();
const { requestDevice } = globals.GPUAdapter.prototype;
globals.GPUAdapter.prototype.requestDevice = function (descriptor) {
  const name = this.info.description;
  if (!devices.has(name)) devices.set(name, requestDevice.call(this, descriptor).then(lasting));
  return devices.get(name);
};
function lasting(device) {
  const pipelines = [];
  const { createComputePipelineAsync, destroy } = device;
  device.createComputePipelineAsync = async (...args) => {
    const pipeline = await createComputePipelineAsync.apply(device, args);
    pipelines.push(pipeline);
    return pipeline;
  };
  device.destroy = () => {};
  destroys.push(() => destroy.call(device));
  return device;
}

/** What a run leaves open of a model's files, and of those of its folder. */
function leaks() {
  const own = `${process.cwd()}/`;
  return readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`);
      return path.endsWith(".safetensors") || path.startsWith(own) ? [`left open: ${path}\n`] : [];
    } catch {
      return []; // the folder's own
    }
  });
}

let runs = 0;
async function run({ args, cwd }) {
  process.chdir(cwd);
  process.argv.splice(2, Infinity, ...args);
  process.exitCode = undefined;
  const said = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"])
    process[name].write = (chunk, ...more) => {
      said[name] += typeof chunk === "string" ? chunk : Buffer.from(chunk).toString();
      more.at(-1)?.();
      return true;
    };
  await import(`${main}?${runs++}`);
  for (let i = 0; process.platform === "linux" && leaks().length > 0 && i < 100; i++) await sleep(20); // they are being closed
  if (process.platform === "linux") said.stderr += leaks().join("");
  forgetListeners();
  return { status: process.exitCode ?? 0, ...said };
}

process.argv[1] = main;
process.on("message", async (message) => process.send(await run(message)));
process.on("disconnect", () => {
  for (const destroy of destroys) destroy();
  process.exit(0);
});

// What a run listens to beyond this is taken away after it.
const listened = [process, process.stdout, process.stderr];
const before = listened.map((each) => new Map(each.eventNames().map((name) => [name, each.listeners(name)])));
function forgetListeners() {
  for (const [i, each] of listened.entries())
    for (const name of each.eventNames())
      for (const listener of each.listeners(name))
        if (!before[i].get(name)?.includes(listener) && name !== "exit") each.off(name, listener);
}
