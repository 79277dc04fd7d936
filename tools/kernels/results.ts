import type { BenchReport, Speed } from "./bench.ts";

/** What one has to know of a run to repeat it. */
export interface RunInfo {
  date: string;
  command: string;
  seconds: number;
}

const row = (cells: readonly (string | number)[]): string => `| ${cells.join(" | ")} |`;
const table = (head: readonly string[], rows: readonly (readonly (string | number)[])[]): string =>
  [row(head), row(head.map(() => "---")), ...rows.map(row)].join("\n");

/** n, the median, minimum and maximum. */
const times = ({ n, ms, minMs, maxMs }: Speed): (string | number)[] => [n, ...[ms, minMs, maxMs].map((value) => value.toFixed(2))];

/** A bench report as a page: goals first, then every time. */
export function toMarkdown({ adapter, ceilings, cases, peers = [], goals = [], tuning, problems }: BenchReport, info: RunInfo): string {
  const { fmaGflops, streamGBps, copyGBps } = ceilings;
  const parts = [
    `# Kernels on ${adapter}`,
    `${info.date}, ${info.seconds} s, by \`${info.command}\``,
    `Ceilings before all cases: fma ${fmaGflops.toFixed(1)} GFLOP/s, stream ${streamGBps.toFixed(2)} GB/s, copy ${copyGBps.toFixed(2)} GB/s. ` +
      "Medians of n samples, all contenders of a case in turns, its ceiling too; ratios are what counts where others load the machine.",
  ];
  if (goals.length)
    parts.push(
      table(
        ["case", "goal", "reached", ""],
        goals.map(({ case: name, goal, value, met }) => [name, goal, value.toFixed(2), met ? "met" : "**missed**"]),
      ),
    );
  parts.push(
    table(
      ["case", "by", "n", "ms", "min", "max", "GFLOP/s", "GB/s", "of the ceiling", "ceiling in turns", "time over ours"],
      [
        ...cases.map((c) => [
          c.name,
          c.chosen ? "this engine's choice" : "this engine",
          ...times(c),
          c.gflops.toFixed(1),
          c.gbps.toFixed(2),
          c.fraction.toFixed(2),
          c.ceiling.toFixed(1),
          "",
        ]),
        ...peers.map((p) => [p.name, p.peer, ...times(p), p.gflops.toFixed(1), p.gbps.toFixed(2), "", "", `× ${p.ratio.toFixed(2)}`]),
      ].sort(([a], [b]) => String(a).localeCompare(String(b))),
    ),
  );
  if (tuning) parts.push(table(["shape class", "measured to be fastest"], Object.entries(tuning)));
  if (problems.length) parts.push(["Problems:", ...problems.map((problem) => `- ${problem}`)].join("\n"));
  return `${parts.join("\n\n")}\n`;
}
