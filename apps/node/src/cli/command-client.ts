/**
 * The client of one command. It notes which change the command asks for, so that one which ends early can say whether it
 * may have happened. A change that is refused although the same command asked for it before, and never saw the end, is
 * looked up by the request id of that time: the cluster tells what it did, and does it once.
 */
import { BlixardClient, type CallOptions, type ClientOptions } from "@blixard/client";
import { errorCodeOf, errorCodes, isBlixardError, issuesText, notApplied, type Random, toHex } from "@blixard/common";
import { type HttpMethodName, mayChange, methods, type RequestOf, type ResponseOf } from "@blixard/protocol";
import { changeOf, type OpenRequests } from "./open-requests.ts";

/** Their answers hold a secret, so that the cluster does not remember them: a second one makes a second secret. */
const minting: ReadonlySet<HttpMethodName> = new Set<HttpMethodName>(["ticket.create", "token.create"]);

export interface AskedChange {
  readonly name: HttpMethodName;
  readonly request: object;
  /** Whether the cluster has answered, and how. */
  readonly state: "open" | "done" | "refused";
  /** The same command again finds what this one did. */
  readonly remembered: boolean;
}

interface Asked extends AskedChange {
  state: AskedChange["state"];
  readonly change: string;
  readonly requestId: string;
  /** A log index from before it was asked for. */
  readonly sinceIndex: number;
}

export class CommandClient extends BlixardClient {
  readonly #requests: OpenRequests;
  readonly #random: Random;
  readonly #asked: Asked[] = [];

  constructor(options: ClientOptions & { readonly random: Random }, requests: OpenRequests) {
    super(options);
    this.#requests = requests;
    this.#random = options.random;
  }

  /** The last change that the command asked for. */
  get lastChange(): AskedChange | undefined {
    return this.#asked.at(-1);
  }

  /** Notes for the next time what the command did not see the end of. */
  settle(sawTheEnd: boolean): void {
    for (const { change, requestId, sinceIndex, remembered, state } of this.#asked) {
      if (!remembered) continue;
      if (sawTheEnd || state === "refused") this.#requests.remove(change);
      else this.#requests.add(change, { requestId, sinceIndex });
    }
  }

  override async call<Name extends HttpMethodName>(
    name: Name,
    request: RequestOf<Name>,
    options: CallOptions = {},
  ): Promise<ResponseOf<Name>> {
    const method = methods[name];
    const { writes, request: schema } = method;
    const checked = schema.safeParse(request);
    // Also what the way there could not carry: a route with an empty name is another route.
    if (!checked.success) throw notApplied("INVALID_ARGUMENT", issuesText(checked.error.issues));
    if (!mayChange(method)) return super.call(name, request, options);
    const requestId = options.idempotencyKey ?? toHex(this.#random.bytes(16));
    const sinceIndex = options.sinceIndex ?? (await this.knownIndex(options)) ?? 0;
    const asked: Asked = {
      name,
      request,
      state: "open",
      remembered: writes && !minting.has(name),
      change: changeOf(name, request, options.ifMatchIndex),
      requestId,
      sinceIndex,
    };
    this.#asked.push(asked);
    try {
      const answer = await super.call(name, request, { ...options, idempotencyKey: requestId, sinceIndex });
      asked.state = "done";
      return isRefusal(answer) ? ((await this.#earlier(asked, options)) ?? answer) : answer;
    } catch (error) {
      if (!isRefused(error)) throw error;
      const answer = await this.#earlier<Name>(asked, options);
      asked.state = answer === undefined ? "refused" : "done";
      if (answer === undefined) throw error;
      return answer;
    }
  }

  /** What the cluster answers to the same change as it was asked for before; undefined when it did nothing then. */
  async #earlier<Name extends HttpMethodName>(
    { name, request, change, remembered }: Asked,
    options: CallOptions,
  ): Promise<ResponseOf<Name> | undefined> {
    if (!remembered) return undefined;
    for (const { requestId: idempotencyKey, sinceIndex } of this.#requests.of(change)) {
      try {
        const earlier = { ...options, idempotencyKey, sinceIndex };
        const answer = await super.call(name, request as RequestOf<Name>, earlier);
        if (!isRefusal(answer) && (await this.#isThere(answer))) return answer as ResponseOf<Name>;
      } catch (error) {
        // What is forgotten is not known, and says nothing about what was asked for now.
        if (!isRefused(error) && errorCodeOf(error) !== "REQUEST_FORGOTTEN") throw error;
      }
    }
    return undefined;
  }

  /** A VM that was made and has gone since is another one than that which has its name now. */
  async #isThere(answer: object): Promise<boolean> {
    if (!("vm" in answer)) return true;
    const { name, vmId, desired } = answer.vm as {
      readonly name: string;
      readonly vmId: string;
      readonly desired: string;
    };
    if (desired === "deleted") return true;
    return (await super.call("vm.get", { name })).vmId === vmId;
  }
}

/** A swap that did not happen is no error of the API. */
function isRefusal(answer: object): boolean {
  return "swapped" in answer && answer.swapped === false;
}

/** Whether nothing was done, and nothing will be. */
function isRefused(error: unknown): boolean {
  const code = errorCodeOf(error);
  if (code === undefined || !isBlixardError(error)) return false;
  return error.outcome !== "unknown" && !errorCodes[code].retryable;
}
