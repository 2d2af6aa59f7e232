/**
 * The three `Reflect` functions that @peculiar/x509's dependency injector (tsyringe) requires on import. It
 * only asks for metadata of TypeScript decorators, and the compiled library has none, so the answer is always
 * "nothing". A polyfill of 60 KB would give the same answer.
 */
if (!('getMetadata' in Reflect)) {
  const nothing = (): undefined => undefined;
  Object.assign(Reflect, { getMetadata: nothing, getOwnMetadata: nothing, defineMetadata: nothing });
}
