/**
 * The main module of the single executable: the command line, and the programs that penstock starts by starting
 * itself. Their flags for Node come first, as `--node-options=…`, and Node takes them away.
 */
import '../../src/process/no-inspector.ts';

const [program, code] = process.argv.slice(2);
switch (program) {
  case '--program=worker':
    await import('../../src/worker/worker-entry.ts');
    break;
  case '--program=load-process':
    await import('../../src/tools/load/child.ts');
    break;
  case '--program=exit':
    process.exit(Number(code));
    break;
  default:
    await import('../../src/commands/command-line.ts');
}
