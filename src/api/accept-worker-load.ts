import { type DeviceOptions, deviceOption } from "../gpu/device-options.ts";
import { checkSource } from "../hub/source.ts";
import { type Reader, readOptions, wrong } from "../options.ts";
import { checkDevices, LOAD, severalOf } from "./accept-load.ts";

/** What a worker's `load` was given. @throws EngineError bad-input */
export function acceptWorkerLoad(from: unknown, options: unknown) {
  const chosen: Reader<DeviceOptions> = (value, name) => {
    const read = deviceOption(value, name);
    if ("own" in read) throw wrong(name, value, "{ adapter, powerPreference }: a device cannot be handed to a worker");
    return read.options;
  };
  const fetch: Reader<undefined> = (value, name) => {
    const needs = "nothing where the model is in a worker: a function cannot be handed to one";
    throw wrong(name, value, needs, "give a source { open(name) }, which stays in the page");
  };
  const shape = { ...LOAD, device: chosen, devices: severalOf(chosen), fetch };
  return { source: checkSource(from), ...checkDevices(readOptions("load", options, shape)) };
}
