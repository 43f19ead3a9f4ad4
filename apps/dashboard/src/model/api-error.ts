/** What a node says when it refuses something: what, why, and what next. */

interface ErrorBody {
  readonly error?: {
    readonly code?: unknown;
    readonly message?: unknown;
    readonly hint?: unknown;
    readonly outcome?: unknown;
  };
}

const text = (value: unknown) => (typeof value === "string" ? value : "");

export class ApiError extends Error {
  /** Of HTTP; 0 when nobody answered. */
  readonly status: number;
  readonly code: string;
  readonly hint: string;
  /** Nobody can say whether a change took effect. */
  readonly isUnknown: boolean;

  constructor(status: number, code: string, message: string, hint: string, isUnknown = false) {
    super(message);
    this.status = status;
    this.code = code;
    this.hint = hint;
    this.isUnknown = isUnknown;
  }

  static of(status: number, body: unknown): ApiError {
    const { code, message, hint, outcome } = (body as ErrorBody | undefined)?.error ?? {};
    const said = text(message) || `the node answers with status ${status}`;
    return new ApiError(status, text(code), said, text(hint), outcome === "unknown");
  }

  /** The token is not good here, and asking again with it does not help. */
  get isDenied(): boolean {
    return this.status === 401 || this.status === 421;
  }
}

export function unreachable(writes: boolean): ApiError {
  const hint = "Look whether the node runs, or open the page of another one.";
  return new ApiError(0, "UNAVAILABLE", "the node does not answer", hint, writes);
}

/** Anything thrown, as an error to show. */
export function shownError(error: unknown): ApiError {
  return error instanceof ApiError ? error : new ApiError(0, "", error instanceof Error ? error.message : "?", "");
}
