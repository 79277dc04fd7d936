/** A published model's size: bytes of its weights on the GPU by format, and of the keys and values of 8192 tokens (fewer where it has fewer). */
export interface FamilyMember {
  model: string;
  weights: Readonly<Record<"bf16" | "q8" | "q4", number>>;
  kv: number; // f16
}

const member = (model: string, bf16: number, q8: number, q4: number, kv: number): FamilyMember => ({
  model,
  weights: { bf16, q8, q4 },
  kv,
});

/** What the published config.json files of test/fixtures give; a test computes it again. Other models of a size differ little. */
export const FAMILY: readonly FamilyMember[] = [
  member("InternVL2_5-1B", 1_879_389_696, 1_001_806_176, 533_761_632, 100_663_296),
  member("InternVL2_5-2B", 4_414_574_592, 2_348_681_472, 1_246_871_808, 805_306_368),
  member("InternVL2_5-4B", 7_428_624_384, 3_950_160_384, 2_094_979_584, 301_989_888),
  member("InternVL2_5-8B", 16_154_136_576, 8_585_642_496, 4_549_112_320, 1_073_741_824),
  member("InternVL2_5-26B", 51_039_668_736, 27_127_178_496, 14_373_850_368, 1_610_612_736),
  member("InternVL2_5-38B", 76_788_668_928, 40_807_312_128, 21_617_255_168, 2_147_483_648),
  member("InternVL2_5-78B", 156_831_025_664, 83_331_736_064, 44_132_114_944, 2_684_354_560),
  member("InternVL3-1B", 1_879_389_696, 1_001_806_176, 533_761_632, 100_663_296),
  member("InternVL3-2B", 4_181_067_776, 2_224_712_576, 1_181_323_136, 234_881_024),
  member("InternVL3-8B", 15_892_285_440, 8_446_657_920, 4_475_656_576, 469_762_048),
  member("InternVL3-14B", 30_239_072_256, 16_069_345_536, 8_512_157_952, 1_610_612_736),
  member("InternVL3_5-1B", 2_124_787_712, 1_132_163_072, 602_763_264, 939_524_096),
  member("InternVL3_5-8B", 17_060_126_720, 9_067_028_480, 4_804_042_752, 1_207_959_552),
];
