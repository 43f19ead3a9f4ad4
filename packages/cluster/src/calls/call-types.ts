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
}

/** Runs where `place` of the method says: the router has seen to that, to the schema and to the access. */
export type Handler<Name extends MethodName> = (
  request: ParsedRequestOf<Name>,
  call: CallScope,
) => Promise<ResponseOf<Name>>;

export type Handlers = { readonly [Name in MethodName]: Handler<Name> };

/** Resolves when the call is accepted. What comes out ends when the signal of the call aborts. */
export type StreamHandler<Name extends StreamName> = (
  request: ParsedStreamRequestOf<Name>,
  call: CallScope,
  input: AsyncIterable<StreamInputOf<Name>>,
) => Promise<AsyncIterable<StreamOutputOf<Name>>>;

export type StreamHandlers = { readonly [Name in StreamName]: StreamHandler<Name> };

/**
 * What the node that is asked first adds to a request, because only it knows: it runs before the call goes on to where it
 * belongs. `endpointId` is the key of the connection.
 */
export type EntrySteps = {
  readonly [Name in MethodName]?: (request: ParsedRequestOf<Name>, endpointId: string) => ParsedRequestOf<Name>;
};

export interface StreamScope<Name extends StreamName> {
  /** Aborts when the caller has gone, at the latest; until then the call holds resources. */
  readonly signal: AbortSignal;
  readonly input?: AsyncIterable<StreamInputOf<Name>>;
}
