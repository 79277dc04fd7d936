/** A source without its comments, of the same length. */
const bare = (source: string): string => source.replaceAll(/\/\/[^\n]*|\/\*[\s\S]*?\*\//g, (comment) => comment.replaceAll(/[^\n]/g, " "));

/** The compute entry points of a WGSL source. */
export function entryPoints(source: string): string[] {
  return [...bare(source).matchAll(/@compute\b[^{};]*?\bfn\s+([\p{L}_][\p{L}\p{N}_]*)/gu)].map(([, name]) => name!);
}

/** The source with its entry points compiled at a subgroup size. */
export function withSubgroupSize(source: string, size: number): string {
  const code = bare(source);
  if (/@subgroup_size\s*\(/.test(code)) return source.replaceAll(/@subgroup_size\s*\([^)]*\)/g, `@subgroup_size(${size})`);
  const enables = ["subgroups", "subgroup_size_control"].filter((name) => !new RegExp(`\\benable\\b[^;]*\\b${name}\\b`).test(code));
  return (
    enables.map((name) => `enable ${name};`).join(" ") + source.replaceAll(/(@workgroup_size\s*\([^)]*\))/g, `$1 @subgroup_size(${size})`)
  );
}
