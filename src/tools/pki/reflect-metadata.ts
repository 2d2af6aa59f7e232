/**
 * The three functions of `Reflect` that @peculiar/x509's dependency injector (tsyringe) demands at its import. It only
 * asks for what decorators of TypeScript recorded; the compiled library has none, so the answer is always "nothing".
 * A polyfill of 60 KB would answer the same.
 */
if (!('getMetadata' in Reflect)) {
  const nothing = (): undefined => undefined;
  Object.assign(Reflect, { getMetadata: nothing, getOwnMetadata: nothing, defineMetadata: nothing });
}
