/**
 * The places for connections of the HTTP API, over all its listeners. Whoever showed no valid token yet is a stranger;
 * strangers compete only with each other. A connection becomes a caller's with the first request that has a valid token.
 *
 *   arrived --> stranger --authenticated--> caller
 *
 * A caller's connection is ended only where no request is in flight on it.
 */
import type { Socket } from "node:net";
import { Evictions, type EvictionsDeps, SharedPlaces, shareOfAddress } from "@blixard/identity";

export interface HttpPlacesOptions {
  /** Connections of strangers at once. */
  readonly strangersMax: number;
  /** Connections of callers at once; further callers stay strangers. */
  readonly callersMax: number;
}

export class HttpPlaces {
  readonly #evictions: Evictions;
  readonly #strangers: SharedPlaces<Socket>;
  readonly #callers: SharedPlaces<Socket>;
  /** Requests in flight. */
  readonly #requests = new Map<Socket, number>();

  constructor(deps: EvictionsDeps, { strangersMax, callersMax }: HttpPlacesOptions) {
    this.#evictions = new Evictions(deps);
    this.#strangers = this.#places("http_stranger", strangersMax, false);
    this.#callers = this.#places("http_caller", callersMax, true);
  }

  /** A connection was accepted, and its TLS handshake is done. */
  arrived(socket: Socket): void {
    this.#strangers.take(socket, shareOfAddress(socket.remoteAddress));
    socket.once("close", () => {
      this.#strangers.leave(socket);
      this.#callers.leave(socket);
      this.#requests.delete(socket);
    });
  }

  /** A connection was lost in the middle of its TLS handshake, because another needed its place. */
  lostHandshake(share: string): void {
    this.#evictions.count("handshake", share);
  }

  /** A request begins; `answered` follows at its end, except where the connection ends with it. */
  requested(socket: Socket): void {
    this.#count(socket, 1);
  }

  answered(socket: Socket): void {
    // A connection that has ended is counted no more.
    if (this.#requests.has(socket)) this.#count(socket, -1);
  }

  /** The request in flight has a valid token. */
  authenticated(socket: Socket): void {
    if (!this.#strangers.has(socket) || !this.#callers.take(socket, shareOfAddress(socket.remoteAddress))) return;
    this.#strangers.leave(socket);
    this.#callers.heard(socket, true);
  }

  #count(socket: Socket, change: 1 | -1): void {
    const requests = (this.#requests.get(socket) ?? 0) + change;
    this.#requests.set(socket, requests);
    this.#strangers.heard(socket, requests > 0);
    this.#callers.heard(socket, requests > 0);
  }

  #places(door: "http_stranger" | "http_caller", placesMax: number, spareBusy: boolean): SharedPlaces<Socket> {
    const evict = (socket: Socket, share: string) => {
      socket.destroy();
      this.#evictions.count(door, share);
    };
    return new SharedPlaces({ placesMax, spareBusy, evict });
  }
}
