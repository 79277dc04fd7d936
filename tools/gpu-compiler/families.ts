/** Who makes a GPU: each has a compiler of its own in Mesa, and its own words for what that made. */
export type Maker = "AMD" | "Intel" | "NVIDIA" | "Apple";

/** A kind of GPU that kernels can be compiled for without having one. */
export interface Family {
  maker: Maker;
  /** A product, for people. */
  gpu: string;
  /** What its core has room for, where the compiler does not say it: threads (Intel's: of some lanes each) and bytes of workgroup memory. */
  core?: { threads: number; shared: number };
}

/** drm.c has what the kernel's drivers tell of each, and RADV knows AMD's by these names. */
export const FAMILIES = {
  navi31: { maker: "AMD", gpu: "Radeon RX 7900 XTX, RDNA 3" },
  navi21: { maker: "AMD", gpu: "Radeon RX 6800 XT, RDNA 2" },
  gfx1201: { maker: "AMD", gpu: "Radeon RX 9070 XT, RDNA 4" },
  vega10: { maker: "AMD", gpu: "Radeon RX Vega 64, GCN" },
  dg2: { maker: "Intel", gpu: "Arc A770, Xe-HPG", core: { threads: 128, shared: 131072 } },
  bmg: { maker: "Intel", gpu: "Arc B580, Xe2", core: { threads: 64, shared: 131072 } },
  lnl: { maker: "Intel", gpu: "Core Ultra 200V, Xe2", core: { threads: 64, shared: 131072 } },
  mtl: { maker: "Intel", gpu: "Core Ultra 100, Xe-LPG", core: { threads: 128, shared: 131072 } },
  tgl: { maker: "Intel", gpu: "Iris Xe, Gen 12", core: { threads: 112, shared: 131072 } },
  adl: { maker: "Intel", gpu: "UHD 770, Gen 12", core: { threads: 112, shared: 131072 } },
  cfl: { maker: "Intel", gpu: "UHD 630, Gen 9", core: { threads: 56, shared: 65536 } },
  tu102: { maker: "NVIDIA", gpu: "RTX 2080 Ti, Turing" },
  ga102: { maker: "NVIDIA", gpu: "RTX 3090, Ampere" },
  ad102: { maker: "NVIDIA", gpu: "RTX 4090, Ada" },
  gb202: { maker: "NVIDIA", gpu: "RTX 5090, Blackwell" },
  m1: { maker: "Apple", gpu: "M1" },
  m2: { maker: "Apple", gpu: "M2" },
} as const satisfies Record<string, Family>;

export type FamilyName = keyof typeof FAMILIES;

export const familyOf = (name: FamilyName): Family => FAMILIES[name];

/** A part of the name that Dawn lists a maker's adapters by, under Mesa. */
export const ADAPTERS: Readonly<Record<Maker, string>> = { AMD: "radv", Intel: "intel", NVIDIA: "nvidia", Apple: "apple" };
