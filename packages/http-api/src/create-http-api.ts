/** The HTTP API of a node: what its listeners call, and who answers behind it. */
import { createHttpApp, type RequestHandler } from "./app.ts";
import { HttpPlaces } from "./http-places.ts";
import { type HttpDeps, type HttpOptions, httpLimits } from "./http-types.ts";
import type { BlobStore, NodeService } from "./node-service.ts";
import { PageSessions } from "./page-sessions.ts";
import { startingBlobs, startingService } from "./starting-node.ts";
import { createVmSockets, type UpgradeHandler } from "./vm-sockets.ts";

export interface HttpApi {
  readonly onRequest: RequestHandler;
  readonly onUpgrade: UpgradeHandler;
  /** The places for connections of its listeners. */
  readonly places: HttpPlaces;
  /** Sets who answers from now on. Before the first time the API answers UNAVAILABLE by itself, and that it lives. */
  serve(service: NodeService): void;
  /** Sets where uploads go from now on. Before the first time they are UNAVAILABLE. */
  storeBlobs(store: BlobStore): void;
  /** Ends all websockets. */
  close(): void;
}

export function createHttpApi(deps: HttpDeps, options: HttpOptions): HttpApi {
  let service = startingService;
  let blobs = startingBlobs;
  const places = new HttpPlaces(deps, options.places ?? httpLimits);
  const parts = { ...deps, service: () => service, blobs: () => blobs, places, sessions: new PageSessions(deps) };
  const sockets = createVmSockets(parts, options);
  return {
    onRequest: createHttpApp(parts, options),
    onUpgrade: sockets.onUpgrade,
    places,
    serve: (next) => {
      service = next;
    },
    storeBlobs: (next) => {
      blobs = next;
    },
    close: () => sockets.close(),
  };
}
