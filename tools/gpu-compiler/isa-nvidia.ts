import { type Kind, type Loop, tally } from "./loops.ts";

/** First letters of an instruction of NAK's listing, and what it is for; the first that fits counts. */
const KINDS: readonly (readonly [RegExp, Kind])[] = [
  [/^(hmma|imma)/, "matrix"],
  [/^(ffma|hfma2|dfma)/, "fma"],
  [/^(dp4a|idp4|idp)/, "dot4"],
  [/^(fadd|fmul|hadd|hmul)/, "float"],
  [/^(mufu|fswz)/, "special"],
  [/^(ld\.shared|ldsm|st\.shared|atom\.shared)/, "shared"],
  [/^(ld\.global|st\.global|atom\.global|red|ldc|ld\.const)/, "memory"],
  [/^(ld\.local|st\.local)/, "scratch"],
  [/^(shfl|redux|vote|match)/, "shuffle"],
  [/^(bar|membar)/, "barrier"],
  [/^(mov|r2ur|prmt|copy|par_copies|swap|s2r|cs2r)/, "move"],
  [/^(nop|warpsync|depbar)/, "hint"],
  [/^(f2f|i2f|f2i|f2fp|i2i|frnd)/, "convert"],
  [/^(bra|bs|break|bclear|exit|brev|bmov|kill)/, "branch"],
  [/^(sel|isetp|fsetp|hsetp|fmnmx|imnmx|psetp|plop3|fset)/, "select"],
];

const WIDE: ReadonlySet<Kind> = new Set(["matrix", "shared", "memory", "scratch"]);
const NOISE = /\.(strong|weak|constant|cta|gpu|sys|a32|a64|ef|en|el)\b/g;

/** Loops of NAK's text: blocks with their successors, `block 3 [...] {` … `} -> [3, 4]`. */
export function nvidiaLoops(isa: string): Loop[] {
  const blocks: string[][] = [];
  const before = new Map<number, number[]>(); // the blocks that go on to one
  const backward: [head: number, tail: number][] = [];
  for (const raw of isa.split("\n")) {
    const line = raw.split("//")[0]!.trim();
    const next = /^\} -> \[(.*)\]/.exec(line)?.[1];
    if (/^block\S* \d+/.test(line)) blocks.push([]);
    else if (next !== undefined) {
      const here = blocks.length - 1;
      for (const to of next
        .split(",")
        .filter((each) => each.trim())
        .map(Number)) {
        before.set(to, [...(before.get(to) ?? []), here]);
        if (to <= here) backward.push([to, here]);
      }
    } else if (line && line !== "}" && blocks.length > 0) {
      // `@p0 r4..6 = ld.global.a64.b64 [r2..4]`: without predicate and result
      blocks.at(-1)!.push(
        line
          .replace(/^@!?u?p\w+\s+/, "")
          .split(" = ")
          .at(-1)!
          .trim(),
      );
    }
  }
  const bodies = new Map<number, Set<number>>(); // what reaches the jump back without passing the head
  for (const [head, tail] of backward.sort(([a], [b]) => a - b)) {
    const body = bodies.get(head) ?? new Set([head]);
    bodies.set(head, body);
    for (const todo = [tail]; todo.length > 0; ) {
      const block = todo.pop()!;
      if (body.has(block)) continue;
      body.add(block);
      todo.push(...(before.get(block) ?? []));
    }
  }
  return [...bodies].map(([head, body]) => {
    const innermost = ![...bodies].some(
      ([other, inside]) => other !== head && inside.size < body.size && [...inside].every((b) => body.has(b)),
    );
    const lines = [...body].sort((a, b) => a - b).flatMap((block) => blocks[block] ?? []);
    return tally(
      innermost,
      lines.map((line) => {
        const op = line.split(/\s/)[0]!;
        const kind = KINDS.find(([begins]) => begins.test(op))?.[1] ?? "int";
        return { kind, wide: WIDE.has(kind) ? op.replace(NOISE, "") : undefined };
      }),
    );
  });
}
