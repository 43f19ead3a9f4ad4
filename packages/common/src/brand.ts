declare const brand: unique symbol;

/** A value of type `T` that only its own constructor can make, so that a node id is never taken for a term. */
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };
