import type { Command } from "commander";
import { UsageError } from "./failures.ts";
import { checkDevices } from "./flags.ts";

/** A command's name with those above it: `internvl kernels test`. */
export const nameOf = (command: Command): string => (command.parent ? `${nameOf(command.parent)} ${command.name()}` : command.name());

/** A command that is read when it runs: whoever asks for --help waits for no engine. */
export const later =
  <A extends unknown[]>(load: () => Promise<(...args: A) => Promise<void>>) =>
  async (...args: A): Promise<void> => {
    (await import("./quiet.ts")).quietenDawn();
    const command = args.at(-1) as Command;
    try {
      checkDevices(command);
      await (await load())(...args);
    } catch (error) {
      if (error instanceof UsageError) error.command = nameOf(command);
      throw error;
    }
  };
