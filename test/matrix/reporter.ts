/** What the test runner of any Node tells, as a line of JSON per test; read by run.ts. Runs in the runtime under test. */
import { relative } from 'node:path';

export type Result = {
  readonly file: string;
  /** The names of the tests around it, and its own. */
  readonly name: string;
  readonly outcome: 'pass' | 'fail' | 'skip';
  readonly error?: string;
};

type TestEvent = {
  readonly type: string;
  readonly data: {
    readonly name: string;
    readonly nesting: number;
    readonly file?: string;
    readonly skip?: string | boolean;
    readonly details?: { readonly error?: Error & { cause?: unknown }; readonly type?: string };
  };
};

export default async function* report(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const open = new Map<string, string[]>();
  for await (const { type, data } of source) {
    const file = data.file === undefined ? '' : relative(process.cwd(), data.file);
    if (type === 'test:start') {
      const names = (open.get(file) ?? []).slice(0, data.nesting);
      open.set(file, [...names, data.name]);
    } else if (type === 'test:pass' || type === 'test:fail') {
      const outcome = type === 'test:fail' ? 'fail' : data.skip !== undefined ? 'skip' : 'pass';
      const around = (open.get(file) ?? []).slice(0, data.nesting);
      const error = data.details?.error;
      const cause = error?.cause ?? error;
      const result: Result = {
        file,
        name: [...around, data.name].join(' > '),
        outcome,
        ...(outcome === 'fail' && { error: cause instanceof Error ? cause.stack : String(cause) }),
      };
      yield `${JSON.stringify(result)}\n`;
    }
  }
}
