/** One layout for configurations: the same values and comments, whatever the indentation and quotes were. */
import { isDeepStrictEqual } from 'node:util';
import { parseDocument } from 'yaml';
import { ConfigError } from '../../config/finding.ts';
import { cover, uncover } from '../../config/read/environment.ts';
import { parseWithPlaces } from '../../config/read/yaml.ts';

const width = 110;

/** Throws a ConfigError with the faults of a text that is no YAML; `name` is what they call the file. */
export function formatYaml(text: string, name: string): string {
  // Variables stay as they are written: nothing is substituted, so nothing can be missing.
  const covered = cover(text);
  const document = parseDocument(covered, { prettyErrors: false, schema: 'core' });
  if (document.errors.length > 0) throw new ConfigError(faultsOf(text, name));
  const formatted = document.toString({ lineWidth: width, minContentWidth: 0, flowCollectionPadding: true });
  const again = parseDocument(formatted, { prettyErrors: false, schema: 'core' });
  if (!isDeepStrictEqual(again.toJS({ maxAliasCount: 100 }), document.toJS({ maxAliasCount: 100 }))) {
    throw new Error(`${name} cannot be formatted without changing what it means: please report it`);
  }
  return uncover(formatted);
}

function faultsOf(text: string, file: string) {
  return parseWithPlaces(text, process.env).faults.map(({ line, column, message }) => ({
    file,
    line,
    column,
    path: '',
    message,
  }));
}
