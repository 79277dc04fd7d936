import { type Kind, type Loop, tally } from "./loops.ts";

interface Instruction {
  op: string;
  line: string;
  /** Of a `send`: which unit, and what it is asked for. */
  message: string;
}

/** `(+f0.0) mad(16) g54<1>F …`: a predicate, then the opcode with its width in lanes; `sync nop(1)`. */
const INSTRUCTION = /^(?:\([-+]?[~a-z0-9_.]+\) )?([a-z][a-z0-9_.]*)(?: \w+)?\(\d+\)/;
const BRANCHES = /^(while|if|else|endif|break|continue|cont|halt|jmpi|brd|brc|goto|join|call|ret)/;

function messageKind(message: string): Kind {
  if (/scratch|, ss \)/.test(message)) return "scratch";
  if (message.startsWith("slm")) return "shared";
  if (/^gateway|barrier/.test(message)) return "barrier";
  return "memory";
}

function kindOf({ op, line, message }: Instruction): Kind {
  if (op.startsWith("dpas")) return "matrix";
  if (op.startsWith("dp4a")) return "dot4";
  if (op.startsWith("send")) return messageKind(message);
  if (op.startsWith("sync")) return /^sync bar/.test(line) ? "barrier" : "wait";
  if (op === "wait" || op === "nop") return op === "wait" ? "barrier" : "hint";
  if (BRANCHES.test(op)) return "branch";
  if (op.startsWith("math")) return "special";
  const real = />:?(F|HF|DF)\b/.test(line.split(/\s{2,}/)[1] ?? "") || /^\S+\s+\S+>(F|HF)\b/.test(line);
  if (/^(mad|mac)/.test(op)) return real ? "fma" : "int";
  if (/[rg]\[a0/.test(line)) return "shuffle"; // a register that another one names: a shuffle, or an array that is indexed
  if (/^(mul|add|frc|rnd|lrp)/.test(op)) return real ? "float" : "int";
  if (op.startsWith("mov")) return "move";
  if (/^(cmp|sel|csel)/.test(op)) return "select";
  return "int";
}

/** `memory.load.d32x4`: what is asked of the memory, how wide each lane's element is, and how many elements it gets. */
function wideOf(kind: Kind, message: string): string | undefined {
  if (kind !== "memory" && kind !== "shared" && kind !== "scratch") return undefined;
  const verb = /\(\s*(\w+)/.exec(message)?.[1] ?? "?";
  const element = /\b(d\d+\w*)/.exec(message)?.[1];
  const count = /\bV(\d+)/.exec(message)?.[1];
  return `${kind}.${verb}${element ? `.${element}` : ""}${count ? `x${count}` : ""}${/transpose/.test(message) ? ".block" : ""}`;
}

/** Loops of the Intel driver's text: a `while` jumps back to its label. */
export function intelLoops(isa: string): Loop[] {
  const code: Instruction[] = [];
  const labels = new Map<string, number>(); // the instruction behind each
  const loops: [from: number, to: number][] = [];
  for (const raw of isa.split("\n")) {
    const line = raw.trim();
    const label = /^(LABEL\d+):/.exec(line)?.[1];
    if (label) {
      labels.set(label, code.length);
      continue;
    }
    const op = INSTRUCTION.exec(line)?.[1];
    const at = line.indexOf("MsgDesc:");
    if (at >= 0) {
      // On the line behind its `send`, the unit's name in front of it.
      const message =
        line
          .slice(0, at)
          .trim()
          .split(/\s{2,}/)
          .at(-1)! + line.slice(at + 8);
      if (op) code.push({ op, line, message });
      else if (code.length > 0) code.at(-1)!.message = message;
    } else if (op) code.push({ op, line: line.replace(/^\([^)]*\) /, ""), message: "" });
    const back = op?.startsWith("while") ? labels.get(/LABEL\d+/.exec(line)?.[0] ?? "") : undefined;
    if (back !== undefined) loops.push([back, code.length - 1]);
  }
  loops.sort(([a], [b]) => a - b);
  return loops.map(([from, to]) =>
    tally(
      !loops.some(([a, z]) => a >= from && z <= to && (a !== from || z !== to)),
      code.slice(from, to + 1).map((each) => {
        const kind = kindOf(each);
        return { kind, wide: wideOf(kind, each.message) };
      }),
    ),
  );
}
