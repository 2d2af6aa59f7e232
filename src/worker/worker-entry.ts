/** What a worker is started with: signals first, as in main.ts, then the program of a worker. */
import '../process/no-inspector.ts';

await import('./worker-process.ts');
