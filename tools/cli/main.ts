#!/usr/bin/env node
import { CommanderError } from "commander";
import { EngineError } from "../../src/errors.ts";
import { told } from "./failures.ts";
import { interruption, leave, listenForSignals, STUCK } from "./interrupt.ts";
import { clearStatus } from "./status.ts";

// Whoever read has had enough (`internvl inspect DIR | head`): no more is to be done, and nothing is wrong.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit();
  end(error);
});
process.stderr.on("error", () => {}); // there is nobody left to tell

/** Says in one line what went wrong, and ends the program. */
function end(error: unknown): void {
  clearStatus();
  const stopped = interruption();
  if (stopped) {
    const hint = error instanceof EngineError && error.code === "aborted" ? error.hint : undefined;
    process.stderr.write(`internvl: aborted: stopped by ${stopped}${hint ? ` (${hint})` : ""}\n`);
    leave(stopped, error === STUCK);
  }
  if (process.env.INTERNVL_DEBUG === "1" && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : 2; // commander has said what is wrong
    return;
  }
  const { line, code } = told(error);
  process.stderr.write(`${line}\n`);
  process.exitCode = code;
}

const crash = (error: unknown): never => {
  end(error);
  process.exit();
};
process.on("uncaughtException", crash);
process.on("unhandledRejection", crash);

const signalled = listenForSignals();
try {
  const { program } = await import("./program.ts"); // signals are heard while that is read
  await Promise.race([program().parseAsync(), signalled]);
} catch (error) {
  end(error);
}
