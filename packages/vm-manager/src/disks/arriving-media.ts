/**
 * Discs that are on their way into the drives of a VM that runs. One may come from another node for minutes, and holds up nothing
 * else that is done with the disks of its VM.
 */
import { bringMedium, type CdromImages, type CdromPlace, type Medium } from "./cdrom-files.ts";

interface Arrival {
  readonly file: string;
  readonly stop: () => void;
  /** Never rejects. */
  readonly ended: Promise<void>;
  state: "coming" | "there" | "failed" | "told";
  error: unknown;
}

export class ArrivingMedia {
  readonly #images: CdromImages;
  readonly #place: CdromPlace;
  readonly #onEnd: () => void;
  /** By drive. */
  readonly #arrivals = new Map<string, Arrival>();

  /** `onEnd` is called when one has come, or has not. */
  constructor(images: CdromImages, place: CdromPlace, onEnd: () => void) {
    this.#images = images;
    this.#place = place;
    this.#onEnd = onEnd;
  }

  /**
   * Resolves with false while it is on its way. Undefined: nothing has to come for this drive, or it lies in it.
   * @throws what it did not come for; asked again, it is tried again, and throws that until it has come
   */
  async want(drive: string, medium: Medium | undefined): Promise<boolean> {
    const present = this.#arrivals.get(drive);
    if (present !== undefined && present.file !== medium?.file) await this.#drop(drive, present);
    if (medium === undefined) return true;
    const known = this.#arrivals.get(drive);
    const arrival = known === undefined || known.state === "told" ? this.#begin(drive, medium, known?.error) : known;
    if (arrival.state === "failed") arrival.state = "told";
    if (arrival.state !== "there" && arrival.error !== undefined) throw arrival.error;
    return arrival.state === "there";
  }

  async close(): Promise<void> {
    await Promise.all([...this.#arrivals].map(([drive, arrival]) => this.#drop(drive, arrival)));
  }

  async #drop(drive: string, arrival: Arrival): Promise<void> {
    this.#arrivals.delete(drive);
    arrival.stop();
    await arrival.ended;
  }

  #begin(drive: string, medium: Medium, error: unknown): Arrival {
    const stopped = new AbortController();
    const ended = bringMedium(this.#images, medium, this.#place, stopped.signal).then(
      () => end("there", undefined),
      (failure: unknown) => end("failed", failure),
    );
    const arrival: Arrival = { file: medium.file, stop: () => stopped.abort(), ended, state: "coming", error };
    const end = (state: Arrival["state"], failure: unknown) => {
      arrival.state = state;
      arrival.error = failure;
      if (!stopped.signal.aborted) this.#onEnd();
    };
    this.#arrivals.set(drive, arrival);
    return arrival;
  }
}
