/** Regular expressions for names. */
import { isOneOf, type NameTest, wholeNameTest } from './clients.ts';

/**
 * Recognizes expressions that mean "below this name" or "one of these names"; others can only be decided for
 * complete names.
 */
export function regularExpression(source: string, ignoresCase: boolean): NameTest {
  const plain = (text: string) =>
    /^[\w-]+(\\\.[\w-]+)*$/.test(text) ? text.replaceAll('\\', '') : undefined;
  const below = /^(?:\^\(?(?:\.\*|\.\+)\)?)?\\\.(.+)\$$/.exec(source)?.[1];
  const suffix = below === undefined ? undefined : plain(below);
  if (suffix !== undefined) return isOneOf([`*.${suffix}`]);
  const whole = /^\^(.+)\$$/.exec(source)?.[1];
  const name = whole === undefined ? undefined : plain(whole);
  if (name !== undefined) return isOneOf([name]);
  try {
    const compiled = new RegExp(source, ignoresCase ? 'i' : '');
    return wholeNameTest((text) => compiled.test(text));
  } catch {
    return { patterns: [], holds: () => undefined };
  }
}
