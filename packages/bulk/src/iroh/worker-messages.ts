/** What the main thread and the worker of the route over Iroh say to each other. Calls, asks and connections have numbers. */
import type { EndpointAddress } from "@blixard/transport";
import type { BulkIrohSettings } from "../bulk-types.ts";

export interface WorkerSettings extends BulkIrohSettings {
  /** Of an identity that lives as long as the worker. */
  readonly secretKey: Uint8Array;
  /** One 32-bit word: 1 when nothing of the worker is under way any more. */
  readonly ended: SharedArrayBuffer;
}

export type ToWorker =
  | { readonly type: "dial"; readonly call: number; readonly to: EndpointAddress }
  | {
      readonly type: "request";
      readonly call: number;
      readonly connection: number;
      readonly path: string;
      readonly bytesMax: number;
      readonly stallMs: number;
    }
  /** A connection that arrived is a member's: answer what it asks. */
  | { readonly type: "serve"; readonly connection: number }
  | { readonly type: "drop"; readonly connection: number }
  | { readonly type: "answer"; readonly ask: number; readonly status: number; readonly body: Uint8Array }
  /** Closes the endpoint; then the worker ends by itself. */
  | { readonly type: "close" };

export type FromWorker =
  | { readonly type: "bound"; readonly addresses: readonly string[] }
  | { readonly type: "broken"; readonly message: string }
  | { readonly type: "arrived"; readonly connection: number; readonly endpointId: string }
  | { readonly type: "ended"; readonly connection: number }
  | { readonly type: "ask"; readonly ask: number; readonly connection: number; readonly path: string }
  /** The bytes of an answer have left, or never will. */
  | { readonly type: "delivered"; readonly ask: number }
  | { readonly type: "dialled"; readonly call: number; readonly connection: number }
  | { readonly type: "answered"; readonly call: number; readonly body: Uint8Array }
  | { readonly type: "failed"; readonly call: number; readonly code: string; readonly message: string };
