/** The binding has one code for all errors (`GenericFailure`), so the text of the error has to tell them apart. */
import { BlixardError, isBlixardError, messageOf } from "@blixard/common";
import { causeLine, firstLine } from "./iroh-module.ts";

export function toDialError(error: unknown, endpointId: string): BlixardError {
  if (isBlixardError(error)) return error;
  const text = messageOf(error);
  const cause = { cause: error };
  if (text.includes("UnknownIssuer")) {
    return new BlixardError("UNKNOWN_PEER", `another endpoint than ${endpointId.slice(0, 10)} answers there`, cause);
  }
  if (text.includes("peer doesn't support any known protocol")) {
    return new BlixardError("UNSUPPORTED_VERSION", "the endpoint does not speak this protocol", cause);
  }
  if (text.includes("Endpoint is closed")) return new BlixardError("STOPPED", "the endpoint is closed", cause);
  return new BlixardError("UNREACHABLE", firstLine(error), cause);
}

export function toBindError(error: unknown, bind: string): BlixardError {
  const text = messageOf(error);
  if (/address already in use|os error (98|48|10048)\b/i.test(text)) {
    return new BlixardError("PORT_IN_USE", `UDP ${bind} is in use`, {
      hint: "Choose another port with --bind, or end the program that holds it.",
      cause: error,
    });
  }
  return new BlixardError("INVALID_ARGUMENT", `UDP ${bind} cannot be bound: ${causeLine(error)}`, { cause: error });
}

export function toStreamError(error: unknown): BlixardError {
  return new BlixardError("UNREACHABLE", firstLine(error), { cause: error });
}
