/**
 * Decides which incoming connections may shake hands. A handshake costs 0.7 ms of CPU (measured), and the key is known
 * only at its end. So both the handshakes at a time and those in a second are bounded, and the gate refuses the others
 * before they cost anything.
 */
import { transportLimits } from "../transport-limits.ts";

export class HandshakeGate {
  #running = 0;
  #tokens: number = transportLimits.handshakesBurstMax;
  #filledMs = 0;

  /** True when one more may begin; `leave` must follow at its end. */
  enter(nowMs: number): boolean {
    const { handshakesMax, handshakesBurstMax, handshakesPerSecondMax } = transportLimits;
    const gained = ((nowMs - this.#filledMs) * handshakesPerSecondMax) / 1_000;
    this.#tokens = Math.min(handshakesBurstMax, this.#tokens + gained);
    this.#filledMs = nowMs;
    if (this.#running >= handshakesMax || this.#tokens < 1) return false;
    this.#running++;
    this.#tokens--;
    return true;
  }

  leave(): void {
    this.#running--;
  }
}
