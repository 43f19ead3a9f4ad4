/** What a handler of the service gets and gives. */
import type {
  Actor,
  CallerAccess,
  CallMeta,
  MethodName,
  ParsedRequestOf,
  ParsedStreamRequestOf,
  ResponseOf,
  StreamInputOf,
  StreamName,
  StreamOutputOf,
} from "@blixard/protocol";

/** The caller behind a token. */
export interface AuthenticatedCaller {
  readonly actor: Actor;
  readonly access: CallerAccess;
}

/** What goes with one call into a handler. */
export interface CallScope {
  readonly meta: CallMeta;
  readonly signal: AbortSignal;
  /** What a write asks for, in 32 hexadecimal digits: a repetition asks for the same. Set where it is decided. */
  readonly requestHash?: string;
}

/** The router runs it where `place` of the method says, after it has checked the schema and the access. */
export type Handler<Name extends MethodName> = (
  request: ParsedRequestOf<Name>,
  call: CallScope,
) => Promise<ResponseOf<Name>>;

export type Handlers = { readonly [Name in MethodName]: Handler<Name> };

/** Resolves when the call is accepted. The items that it gives end when the signal of the call aborts. */
export type StreamHandler<Name extends StreamName> = (
  request: ParsedStreamRequestOf<Name>,
  call: CallScope,
  input: AsyncIterable<StreamInputOf<Name>>,
) => Promise<AsyncIterable<StreamOutputOf<Name>>>;

export type StreamHandlers = { readonly [Name in StreamName]: StreamHandler<Name> };

/**
 * Adds to a request what only the node that was asked first knows. It runs there, before the call is passed on.
 * `endpointId` is the key of the connection.
 */
export type EntrySteps = {
  readonly [Name in MethodName]?: (request: ParsedRequestOf<Name>, endpointId: string) => ParsedRequestOf<Name>;
};

/**
 * What the node that is asked first waits for before it gives the answer, so that it knows what the caller may count on from
 * then on.
 */
export type ExitSteps = {
  readonly [Name in MethodName]?: (answer: ResponseOf<Name>, signal: AbortSignal) => Promise<void>;
};

export interface StreamScope<Name extends StreamName> {
  /** Has to abort when the caller has gone, or earlier. The call holds resources until then. */
  readonly signal: AbortSignal;
  readonly input?: AsyncIterable<StreamInputOf<Name>>;
}
