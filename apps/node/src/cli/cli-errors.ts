/** Errors for the person or the program that ran the command: what, why, what next. */
import {
  BlixardError,
  type ErrorCode,
  type ErrorOutcome,
  errnoOf,
  errorCodeOf,
  errorCodes,
  fileErrorOf,
  isBlixardError,
  messageOf,
  reasonOf,
  systemErrorCodeOf,
} from "@blixard/common";

import picocolors from "picocolors";
import { type CliContext, printable } from "./cli-context.ts";
import { changeOutcomeOf, outcomeText } from "./outcome.ts";

/** Codes of commander that are no errors. */
const shown: ReadonlySet<string> = new Set(["commander.helpDisplayed", "commander.version"]);

/**
 * Writes the error to standard error, as text or as one JSON object. Returns the exit code. `command`: the one whose help
 * a usage error leads to.
 */
export function reportError(error: unknown, json: boolean, context: CliContext, command = "blixard"): number {
  const code = systemErrorCodeOf(error) ?? "INTERNAL";
  // A help that was asked for ends with 0, one that stands for a missing command does not.
  if (shown.has(code) || (code === "commander.help" && (error as { exitCode?: unknown }).exitCode === 0)) return 0;
  const view = code.startsWith("commander.") ? usageError(error, code, command) : viewOf(inWords(error), context);
  if (json) {
    context.stderr.write(`${JSON.stringify({ error: view })}\n`);
  } else {
    const colors = picocolors.createColors(useColor(context));
    context.stderr.write(`${colors.red("error:")} ${printable(view.message)}  ${colors.dim(`[${view.code}]`)}\n`);
    if (view.outcome !== undefined) context.stderr.write(`${colors.cyan("outcome:")} ${outcomeText(view.outcome)}\n`);
    if (view.hint !== null) context.stderr.write(`${colors.cyan("hint:")} ${printable(view.hint)}\n`);
    if (view.requestId !== null) context.stderr.write(`${colors.dim(`request: ${printable(view.requestId)}`)}\n`);
  }
  return errorCodes[view.code].exitCode;
}

export interface ErrorView {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string | null;
  readonly retryable: boolean;
  readonly requestId: string | null;
  /** Of a command that asked for a change. */
  readonly outcome?: ErrorOutcome;
}

/** An error of the system that nobody wrapped. */
function inWords(error: unknown): unknown {
  if (errnoOf(error) === undefined) return error;
  const { syscall, path, address, port, hostname } = error as Readonly<Record<string, unknown>>;
  const what = [syscall, path, hostname, address, port].filter((part) => part !== undefined).join(" ");
  const isNetwork = [address, port, hostname].some((part) => part !== undefined);
  if (isNetwork) return new BlixardError("UNREACHABLE", `${what}: ${reasonOf(error)}`, { cause: error });
  return fileErrorOf(error, what);
}

function viewOf(error: unknown, context: CliContext): ErrorView {
  const code = errorCodeOf(error);
  const known = code !== undefined;
  const requestId = isBlixardError(error) ? error.details?.["requestId"] : undefined;
  const outcome = changeOutcomeOf(error);
  if (!known && context.env["BLIXARD_DEBUG"] !== undefined && error instanceof Error) {
    context.stderr.write(`${error.stack}\n`);
  }
  return {
    code: code ?? "INTERNAL",
    message: messageOf(error),
    hint: hintOf(error, code) ?? (known ? null : "Set BLIXARD_DEBUG=1 for the stack."),
    retryable: known && errorCodes[code].retryable,
    requestId: typeof requestId === "string" ? requestId : null,
    ...(outcome === undefined ? {} : { outcome }),
  };
}

/** A node answers with the id of the request. */
const errorFromNode = (error: unknown) => isBlixardError(error) && error.details?.["requestId"] !== undefined;

/** What a person can do. The hint of a node about tokens is for programs that speak HTTP. */
function hintOf(error: unknown, code: ErrorCode | undefined): string | undefined {
  if (code === "UNAUTHENTICATED" && errorFromNode(error)) {
    return "Give the token of the cluster: --token-file DIR/admin.token of a voter's data directory, or BLIXARD_TOKEN.";
  }
  const hint = isBlixardError(error) ? error.hint : undefined;
  if (hint !== undefined || code !== "UNREACHABLE") return hint;
  return "Does a node run there, and is this its address? On that machine: blixard doctor.";
}

/** The parser's own message already has the suggestion in its last line. */
function usageError(error: unknown, code: string, command: string): ErrorView {
  const [first = "", ...rest] = messageOf(error)
    .replace(/^error: /, "")
    .split("\n");
  const isCommand = code === "commander.unknownCommand" || code === "commander.help";
  return {
    code: isCommand ? "UNKNOWN_COMMAND" : code === "commander.unknownOption" ? "UNKNOWN_OPTION" : "INVALID_ARGUMENT",
    message: code === "commander.help" ? "a command is missing" : first,
    hint: rest.join(" ").replace(/^\((.*)\)$/, "$1") || `See: ${command} --help`,
    retryable: false,
    requestId: null,
  };
}

/** NO_COLOR and FORCE_COLOR win over the terminal. */
export function useColor(context: CliContext): boolean {
  const { NO_COLOR, FORCE_COLOR, TERM } = context.env;
  if (NO_COLOR !== undefined && NO_COLOR !== "") return false;
  if (FORCE_COLOR !== undefined && FORCE_COLOR !== "0") return true;
  return context.stderr.isTTY === true && TERM !== "dumb";
}
