/** Parsers with faults, to see that the fuzzer finds them. */
import type { Target } from '../target.ts';
import { parseAndHang, parseAndThrow } from './self-test-parsers.ts';

const common = { seeds: () => [Buffer.from('start')], tokens: [], maxLength: 100 };

export const throwing: { readonly target: Target } = {
  target: { ...common, name: 'self-test-throw', check: parseAndThrow },
};

export const hanging: { readonly target: Target } = {
  target: { ...common, name: 'self-test-hang', check: parseAndHang },
};
