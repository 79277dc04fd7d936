import type { Report } from "../../src/harness/report.ts";

/** What to run: an op, or all of them; a part of a case's name. */
export interface Choice {
  op?: string | undefined;
  filter?: string | undefined;
}

/** The cases that are asked for; a string says why there are none. */
export function chooseCases<Case extends { op: string; name: string }>(cases: readonly Case[], { op, filter }: Choice): Case[] | string {
  const ops = [...new Set(cases.map((test) => test.op))];
  if (op !== undefined && !ops.includes(op)) return `there is no op ${JSON.stringify(op)}; there are ${ops.join(", ")}`;
  const chosen = cases.filter((test) => (op === undefined || test.op === op) && (!filter || test.name.includes(filter)));
  return chosen.length ? chosen : `no case's name contains ${JSON.stringify(filter)}${op ? ` among those of ${op}` : ""}`;
}

/** Why cases did not run: how many a reason, and the first of them. */
export function reasonsOf(lacking: Report["lacking"]): { reason: string; cases: number; first: string }[] {
  return [...new Set(lacking.map(({ reason }) => reason))].map((reason) => {
    const own = lacking.filter((each) => each.reason === reason);
    return { reason, cases: own.length, first: own[0]!.name };
  });
}

/** The document of `internvl kernels test --json` for one adapter: worstNmse and worstCase are null where no case of an op ran, an infinite NMSE too, with its case beside it. */
export function reportJson({ adapter, passed, failed, unsupported, ops }: Omit<Report, "failures" | "lacking">) {
  const line = ({ cases, worstNmse, worstCase }: Report["ops"][string]) => ({
    cases,
    worstNmse: worstNmse ?? null,
    worstCase: worstCase ?? null,
  });
  return { adapter, passed, failed, unsupported, ops: Object.fromEntries(Object.entries(ops).map(([op, o]) => [op, line(o)])) };
}
