/** Regular expressions for names. */
import { isOneOf, type NameTest, patternOf, wholeNameTest } from './clients.ts';

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
    return within(endOf(source), (text) => compiled.test(text));
  } catch {
    return { patterns: [], holds: () => undefined };
  }
}

/** The text in which everything ends that matches, such as `b.test` of `^a[0-9]\.b\.test$`. */
function endOf(source: string): string | undefined {
  const end = /[^\\]((?:\\\.[\w-]+)+)\$$/.exec(source)?.[1];
  // Alternatives may end otherwise.
  return end === undefined || source.includes('|') ? undefined : end.replaceAll('\\', '').slice(1);
}

/** A test of complete names that holds for none but those below `end`, if that is known. */
function within(end: string | undefined, test: (name: string) => boolean): NameTest {
  const whole = wholeNameTest(test);
  if (end === undefined || patternOf(end) === undefined) return whole;
  const below = isOneOf([`*.${end}`]);
  return {
    patterns: below.patterns,
    holds: (clients) => (below.holds(clients) === false ? false : whole.holds(clients)),
  };
}
