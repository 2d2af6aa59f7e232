/** The entry point of a worker process: takes over signals first, as main.ts does, then runs the worker. */
import '../process/no-inspector.ts';

await import('./worker-process.ts');
