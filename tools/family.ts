import type { Gpu } from "../src/gpu/device.ts";
import { mostTiles, TILES } from "../src/model/steps.ts";
import { misfit } from "../src/weights/fit.ts";

export const FORMATS = ["bf16", "q8", "q4"] as const;
type Format = (typeof FORMATS)[number];

/** A published model's size: bytes that it takes on the GPU with a default context, by format, and what of them a tile of a vision step takes (model/memory.ts). */
interface FamilyMember {
  model: string;
  tile: number;
  bytes: Readonly<Record<Format, number>>;
}

/** A tile of InternViT-300M, and of InternViT-6B. */
const [SMALL, LARGE] = [58_777_600, 183_680_000];

const member = (model: string, bf16: number, q8: number, q4: number, tile = SMALL): FamilyMember => ({
  model,
  tile,
  bytes: { bf16, q8, q4 },
});

/** What the published config.json files of test/fixtures give; a test computes it again. Other models of a size differ little. */
export const FAMILY: readonly FamilyMember[] = [
  member("InternVL2_5-1B", 2_547_037_696, 1_669_454_176, 1_201_409_632),
  member("InternVL2_5-2B", 5_861_838_848, 3_795_945_728, 2_694_136_064),
  member("InternVL2_5-4B", 8_377_815_040, 4_899_351_040, 3_044_170_240),
  member("InternVL2_5-8B", 17_987_276_800, 10_418_782_720, 6_382_252_544),
  member("InternVL2_5-26B", 54_009_952_768, 30_097_462_528, 17_344_134_400, LARGE),
  member("InternVL2_5-38B", 80_295_823_872, 44_314_467_072, 25_124_410_112, LARGE),
  member("InternVL2_5-78B", 161_021_327_872, 87_522_038_272, 48_322_417_152, LARGE),
  member("InternVL3-1B", 2_547_037_696, 1_669_454_176, 1_201_409_632),
  member("InternVL3-2B", 5_031_692_288, 3_075_337_088, 2_031_947_648),
  member("InternVL3-8B", 17_113_057_280, 9_667_429_760, 5_696_428_416),
  member("InternVL3-14B", 32_653_123_584, 18_483_396_864, 10_926_209_280),
  member("InternVL3_5-1B", 3_643_355_136, 2_650_730_496, 2_121_330_688),
  member("InternVL3_5-8B", 19_019_096_064, 11_025_997_824, 6_763_012_096),
];

/** What is said of a phone's GPU (`Gpu.mobile`). */
export const ON_PHONES =
  "A phone's GPU: steps are small there (a tile, 512 tokens), three are on their way at once, and no buffer is above 1 GiB. Take a 1B in q4: 1.03 GB.";

/** A size of the family in a format, and whether an adapter has room for it. */
export interface Need {
  model: string;
  format: Format;
  /** Weights, keys and values of 8192 tokens, activations. */
  bytes: number;
  fits: boolean;
}

/**
 * What each size of the family needs, and whether this adapter has it: asked from the smallest on, up to the first that it has not.
 *
 * @param available bytes of the machine's memory, which is what counts on a software adapter
 * @param asking called with each size before its server is asked
 */
export async function needs(gpu: Gpu, available: number | undefined, asking: (bytes: number) => void = () => {}): Promise<Need[]> {
  const fewer = TILES - mostTiles(gpu);
  const all = FAMILY.flatMap(({ model, bytes, tile }) =>
    FORMATS.map((format) => ({ model, format, bytes: bytes[format] - fewer * tile, fits: false })),
  );
  for (const need of [...all].sort((a, b) => a.bytes - b.bytes)) {
    asking(need.bytes);
    need.fits = (await misfit(gpu, need.bytes, available)) === undefined;
    if (!need.fits) break;
  }
  return all;
}
