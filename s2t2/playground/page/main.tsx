/** The page's entry: renders the sections below the header that index.html has, and begins. */
import { render } from 'preact';
import type { JSX } from 'preact';
import { Bring } from './bring.tsx';
import { isolate } from './isolate.ts';
import { Learn } from './learn.tsx';
import { Play } from './play.tsx';
import { Setup } from './setup.tsx';
import { begin, crashed } from './state.ts';
import { Take } from './take.tsx';
import { Tokenize } from './tokenize.tsx';
import { ToyExhibit } from './toy.tsx';

const App = (): JSX.Element => (
  <>
    {crashed.value && (
      <p class="problem" role="alert">
        {`The worker stopped: ${crashed.value}. Reload the page; a run resumes where it was last saved.`}
      </p>
    )}
    <Bring />
    <Tokenize />
    <Learn />
    <Play />
    <Take />
    <Setup />
  </>
);

if (!(await isolate())) {
  // The head of the first section is in index.html, so that there is text before there is a script.
  render(<ToyExhibit />, document.getElementById('exhibit')!);
  render(<App />, document.getElementById('app')!);
  void begin();
}
