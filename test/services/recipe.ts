/** What a recipe's page has its reader type, typed. */
import { commandsBelow, replaceAll } from '../support/recipes.ts';
import { type Finished, type RunOptions, run } from './process.ts';

/** Runs the commands below "Try it" in the directory of the certificates, with each key of `replace`, which must be there, replaced. */
export function tryIt(
  page: string,
  directory: string,
  replace: Readonly<Record<string, string>>,
  options: RunOptions = {},
): Promise<Finished> {
  const commands = replaceAll(commandsBelow(page, 'Try it'), replace);
  return run('sh', ['-ec', commands], { cwd: directory, ...options });
}
