/** Keys that were seen at addresses: what makes a second connection to an impostor fail. */
export interface PinStore {
  get(address: string): string | undefined;
  /** Called once per address, after the first verified use. */
  set(address: string, endpointId: string): void;
}

/** Pins for the life of one client. */
export function memoryPins(): PinStore {
  const pins = new Map<string, string>();
  return {
    get: (address) => pins.get(address),
    set: (address, endpointId) => {
      pins.set(address, endpointId);
    },
  };
}
