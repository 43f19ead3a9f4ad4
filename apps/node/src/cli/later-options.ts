/** Options that take long to make: only the command that is used gets them, and not those beside it. */
import type { Command } from "commander";

const waiting = new WeakMap<Command, (command: Command) => void>();

export function addLater(command: Command, add: (command: Command) => void): Command {
  waiting.set(command, add);
  return command;
}

export function addNow(command: Command): void {
  const add = waiting.get(command);
  waiting.delete(command);
  add?.(command);
}

/** Of a command and of all that are below it. */
export function addAllNow(command: Command): void {
  addNow(command);
  for (const sub of command.commands) addAllNow(sub);
}
