/** One request of HTTP, of which most is read only when somebody asks for it, and what its answer is. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { notApplied } from "@blixard/common";

/** What a handler answers with. It is written in one place, with the headers that every answer has. */
export interface Answer {
  readonly status: number;
  readonly type: string;
  /** What has no end is written piece by piece, as fast as the caller takes it. */
  readonly body: string | Uint8Array | AsyncIterable<string>;
}

export function jsonAnswer(value: unknown, status = 200): Answer {
  return { status, type: "application/json", body: JSON.stringify(value) };
}

const noFields: Readonly<Record<string, string>> = {};

export class Exchange {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
  readonly verb: string;
  /** As it was sent: percent-encoded, and without the query. */
  readonly path: string;
  /** The parts of the path that the template of the route names. */
  params: Readonly<Record<string, string>> = noFields;
  requestId = "";
  /** Headers that only this answer has. */
  ownHeaders: Record<string, string> | undefined;
  readonly #queryText: string;
  #query: Readonly<Record<string, string>> | undefined;

  /** @throws INVALID_ARGUMENT for a target that is no path and no URL */
  constructor(incoming: IncomingMessage, outgoing: ServerResponse) {
    this.incoming = incoming;
    this.outgoing = outgoing;
    this.verb = incoming.method ?? "GET";
    const target = targetOf(incoming.url ?? "/");
    const end = target.indexOf("?");
    this.path = end < 0 ? target : target.slice(0, end);
    this.#queryText = end < 0 ? "" : target.slice(end + 1);
  }

  /** Value of a header of the request by its lower-case name. */
  header(name: string): string | undefined {
    const value = this.incoming.headers[name];
    return typeof value === "object" ? value.join(", ") : value;
  }

  /** Adds a header to the answer. */
  setHeader(name: string, value: string): void {
    this.ownHeaders ??= {};
    this.ownHeaders[name] = value;
  }

  /** Of a parameter that stands several times, the first value. */
  query(name: string): string | undefined {
    return this.#queryText === "" ? undefined : this.queryFields()[name];
  }

  queryFields(): Readonly<Record<string, string>> {
    this.#query ??= this.#queryText === "" ? noFields : fieldsOf(this.#queryText);
    return this.#query;
  }
}

/** A proxy may be asked with a whole URL (RFC 9112, 3.2.2). */
function targetOf(url: string): string {
  if (url.startsWith("/") || url === "*") return url;
  if (!/^https?:\/\//i.test(url) || !URL.canParse(url)) {
    throw notApplied("INVALID_ARGUMENT", "the target of the request is no path", {
      hint: "Ask for a path that begins with a slash.",
    });
  }
  const { pathname, search } = new URL(url);
  return `${pathname}${search}`;
}

function fieldsOf(queryText: string): Record<string, string> {
  const fields: Record<string, string> = Object.create(null);
  for (const [name, value] of new URLSearchParams(queryText)) fields[name] ??= value;
  return fields;
}
