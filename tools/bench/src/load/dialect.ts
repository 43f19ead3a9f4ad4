/** The two HTTP interfaces that are loaded: etcd's JSON gateway and ours. Written as bytes, so that the load costs little. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly token?: string;
}

export type Dialect = "etcd" | "blixard";

export function putRequest(dialect: Dialect, to: Endpoint, key: string, value: string): string {
  if (dialect === "blixard") {
    return requestText(`PUT /v1/kv/${encodeURIComponent(key)}`, to, `{"value":"${value}"}`);
  }
  return requestText("POST /v3/kv/put", to, `{"key":"${base64(key)}","value":"${base64(value)}"}`);
}

/** Linearizable on both sides, as is the default of both. */
export function getRequest(dialect: Dialect, to: Endpoint, key: string): string {
  if (dialect === "blixard") return requestText(`GET /v1/kv/${encodeURIComponent(key)}`, to, "");
  return requestText("POST /v3/kv/range", to, `{"key":"${base64(key)}"}`);
}

function requestText(line: string, { host, port, token }: Endpoint, body: string): string {
  const about = body === "" ? "" : `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n`;
  const bearer = token === undefined ? "" : `authorization: Bearer ${token}\r\n`;
  return `${line} HTTP/1.1\r\nhost: ${host}:${port}\r\n${bearer}${about}\r\n${body}`;
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}

export interface Answer {
  readonly status: number;
  readonly body: string;
}

/** The answer that these bytes, read as latin1, are; undefined while some of it is missing. A chunked body keeps its marks. */
export function parseAnswer(text: string): Answer | undefined {
  const headEnd = text.indexOf("\r\n\r\n");
  if (headEnd < 0) return undefined;
  const head = text.slice(0, headEnd);
  const body = text.slice(headEnd + 4);
  const [, length] = /^content-length: (\d+)/im.exec(head) ?? [];
  const isChunked = /^transfer-encoding: chunked/im.test(head);
  if (length !== undefined ? body.length < Number(length) : isChunked && !body.endsWith("0\r\n\r\n")) return undefined;
  return { status: Number(head.slice(9, 12)), body };
}

/** True for an answer that means success: etcd answers 200 with no value where a key is missing. */
export function isSuccess({ status, body }: Answer, isGet: boolean): boolean {
  return status >= 200 && status < 300 && (!isGet || body.includes('"value"'));
}
