/**
 * What an adapter computes on. It decides which kernels are tried (ops/choose.ts), since on a CPU other things are cheap: barriers cost
 * most there. It also decides how the engine waits, which must leave the CPU's cores to the adapter.
 */
export type AdapterKind = "gpu" | "cpu";

/** Whether a pipeline is compiled at its first dispatch, not when it is made: so do Mesa's CPU drivers. */
export const compilesLate = (kind: AdapterKind): boolean => kind === "cpu";

/** Whether it only compiles, as the adapters of `internvl kernels compile` do: nothing there can be measured. */
export const isNullHardware = (name: string): boolean => /\bnull hardware\b/i.test(name);

/** Makers of phones' GPUs, as WebGPU says them. */
const MOBILE_MAKERS = ["arm", "qualcomm", "img-tec", "samsung", "huawei"];

/** Whether a GPU's maker says that it is a phone's: memory is small there, and shared. Apple's does not tell (platform.mobile). */
export const isMobile = (vendor: string): boolean => MOBILE_MAKERS.includes(vendor.toLowerCase());

/** A GPU's maker, as WebGPU says it. Apple's on Linux has its driver's maker there (Mesa), and its own in its name. */
export const makerOf = ({ name, device, vendor = "" }: AdapterFacts): string =>
  vendor === "mesa" && [name, device].some((text) => /^apple\b/i.test(text ?? "")) ? "apple" : vendor;

/** What is known of an adapter: a GPUAdapterInfo, or the name that Dawn lists it by. Browsers leave most of it empty. */
export interface AdapterFacts {
  name?: string | undefined;
  description?: string | undefined;
  device?: string | undefined;
  vendor?: string | undefined;
  architecture?: string | undefined;
  isFallbackAdapter?: boolean | undefined;
}

/** Mesa's llvmpipe (its Vulkan driver is called lavapipe) and softpipe, Google's SwiftShader, Microsoft's WARP, Apple's renderer. */
const CPU_NAMES = /\b(llvmpipe|lavapipe|softpipe|swiftshader|software (renderer|rasterizer|adapter)|microsoft basic render)/i;

/** As `architecture` says it, where the name is kept from pages: Mesa (of all its drivers without a maker's id, Apple's GPUs too), Google, Microsoft. */
const CPU_ARCHITECTURES = ["software", "swiftshader", "warp"];

/** The one place that says whether an adapter is a GPU or computes on the CPU. What tells nothing of itself is taken for a GPU. */
export function kindOf({ name, description, device, vendor, architecture, isFallbackAdapter }: AdapterFacts): AdapterKind {
  const named = [name, description, device, vendor].some((text) => text !== undefined && CPU_NAMES.test(text));
  const nameless = !(name || description || device);
  const byArchitecture = nameless && CPU_ARCHITECTURES.includes(architecture?.toLowerCase() ?? "");
  return isFallbackAdapter === true || named || byArchitecture ? "cpu" : "gpu";
}
