/** Why something failed, in words for people: errors of the system, of OpenSSL and of schemas have texts of their own. */
import { messageOf, systemErrorCodeOf } from "./errors.ts";

const systemReasons: Readonly<Record<string, string>> = {
  ENOENT: "it does not exist",
  EACCES: "this user has no permission",
  EPERM: "this user has no permission",
  EISDIR: "it is a directory",
  ENOTDIR: "a part of the path is no directory",
  EEXIST: "it exists already",
  ENOSPC: "the disk is full",
  EDQUOT: "the quota of this user is used up",
  EROFS: "the file system is read-only",
  EIO: "the disk failed",
  EMFILE: "this process has too many files open",
  ENFILE: "this machine has too many files open",
  ELOOP: "its links lead in a circle",
  ENAMETOOLONG: "the name is too long",
  ECONNREFUSED: "nothing listens there",
  ECONNRESET: "the connection was broken",
  EPIPE: "the connection was broken",
  ETIMEDOUT: "it does not answer",
  EHOSTUNREACH: "no way leads there",
  ENETUNREACH: "no way leads there",
  ENOTFOUND: "the name is not known",
  EAI_AGAIN: "the name could not be looked up now",
  EADDRINUSE: "the address is in use",
  EADDRNOTAVAIL: "it is no address of this machine",
  EAGAIN: "nothing can be read from it now",
  EBUSY: "something else is using it",
  ENXIO: "it is no file",
  ENOMEM: "this machine has no memory left",
  EPROTONOSUPPORT: "this machine does not speak that protocol",
  EAFNOSUPPORT: "this machine does not speak that protocol",
};

/** LevelDB says `IO error: PATH: TEXT`, with the text of strerror(3). */
const levelReasons: Readonly<Record<string, keyof typeof systemReasons>> = {
  "No such file or directory": "ENOENT",
  "Permission denied": "EACCES",
  "Operation not permitted": "EPERM",
  "No space left on device": "ENOSPC",
  "Disk quota exceeded": "EDQUOT",
  "Read-only file system": "EROFS",
  "Input/output error": "EIO",
  "Too many open files": "EMFILE",
  "Too many open files in system": "ENFILE",
};

/** Words in what OpenSSL says, and what they mean to whoever gave a file or an address. */
const tlsReasons: readonly (readonly [said: RegExp, reason: string])[] = [
  [/no start line|not enough data|bad end line|bad base64/, "it is no PEM file"],
  [/key values mismatch/, "the key is not that of the certificate"],
  [/wrong version number|packet length too long|http request|record layer failure/, "it does not speak TLS"],
  [/bad decrypt|bad password|interrupted or cancelled/, "the key is encrypted"],
];

/** The message of `error`, or what it means where that is a text of the system, of OpenSSL or of a schema. */
export function reasonOf(error: unknown): string {
  const code = systemErrorCodeOf(error) ?? "";
  const message = messageOf(error);
  const { issues } = (error ?? {}) as { readonly issues?: unknown };
  if (Array.isArray(issues)) return issuesText(issues as readonly SchemaIssue[]);
  if (systemReasons[code] !== undefined) return systemReasons[code];
  // The text is that of the engine.
  if ((error as { readonly name?: unknown } | undefined)?.name === "SyntaxError") return "it is not JSON";
  const [, path, said = ""] = /^IO error: (.*): ([^:]+)$/.exec(message) ?? [];
  const levelCode = levelReasons[said];
  if (levelCode !== undefined) return `${path}: ${systemReasons[levelCode]}`;
  if (!/^ERR_(SSL|OSSL)_|^EPROTO$/.test(code) && !/\berror:[0-9A-F]{8}:/.test(message)) return message || code;
  const known = tlsReasons.find(([said]) => said.test(message));
  if (known !== undefined) return known[1];
  return (
    message
      .split(":")
      .findLast((part) => /[a-z]{3}/.test(part))
      ?.trim() ?? "TLS failed"
  );
}

/** What a schema says of one field; the form is that of zod. */
export interface SchemaIssue {
  readonly code: string;
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly expected?: string;
  readonly origin?: string;
  readonly maximum?: number | bigint;
  readonly minimum?: number | bigint;
  readonly values?: readonly unknown[];
  readonly keys?: readonly string[];
}

const issuesMax = 5;

/** Each field with what is wrong with it, the first few. */
export function issuesText(issues: readonly SchemaIssue[]): string {
  const texts = issues.slice(0, issuesMax).map((issue) => {
    const field = issue.path.join(".");
    return field === "" ? issueText(issue) : `${field}: ${issueText(issue)}`;
  });
  return texts.join("; ");
}

/** What is wrong with one field, without its name. Texts that a schema gives itself stay. */
export function issueText(issue: SchemaIssue): string {
  const { code, message, origin = "" } = issue;
  // Only the library's own texts begin like this.
  if (!/^(Invalid |Too |Unrecognized )/.test(message)) return message;
  switch (code) {
    case "invalid_type":
      return message.endsWith("received undefined") ? "is missing" : `must be ${kindText(issue.expected ?? "")}`;
    case "too_big":
      return `must be at most ${issue.maximum}${unitOf(origin)}`;
    case "too_small":
      return issue.minimum === 1 && unitOf(origin) !== ""
        ? "must not be empty"
        : `must be at least ${issue.minimum}${unitOf(origin)}`;
    case "invalid_value":
      return `must be ${issue.values?.map((value) => JSON.stringify(value)).join(" or ")}`;
    case "unrecognized_keys":
      return `there is no field ${issue.keys?.map((key) => JSON.stringify(key)).join(", ")} here`;
    case "invalid_format":
      return "does not have the right form";
    default:
      return "is not of a form that is known";
  }
}

function kindText(expected: string): string {
  if (expected === "int") return "a whole number";
  return /^[aeiou]/.test(expected) ? `an ${expected}` : `a ${expected === "string" ? "text" : expected}`;
}

function unitOf(origin: string): string {
  return origin === "string" ? " characters long" : origin === "array" ? " long" : "";
}
