/** The port for randomness. */
export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
  /** `length` uniform bytes. From `systemRandom` they are fit for secrets; from a seed they are not. */
  bytes(length: number): Uint8Array;
}

/** A reproducible source: sfc32 (Doty-Humphrey, PractRand), seeded from one integer. */
export function seededRandom(seed: number): Random {
  let a = 0x9e3779b9 | 0;
  let b = 0x243f6a88 | 0;
  let c = seed | 0;
  let d = (Math.floor(seed / 0x1_0000_0000) | 0) + 1;
  const nextUint32 = (): number => {
    const sum = (a + b + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    c |= 0;
    return sum >>> 0;
  };
  for (let round = 0; round < 15; round++) nextUint32();
  return {
    next: () => nextUint32() / 0x1_0000_0000,
    bytes: (length) => Uint8Array.from({ length }, () => nextUint32() & 0xff),
  };
}
