/** Texts as coloured tokens: what each stands for at the pointer or, by arrow keys, at a cursor. */
import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { mountSample } from '../../view/live/sample.ts';
import type { ShownToken } from '../protocol.ts';

const describe = ({ id, text, bytes, bits }: ShownToken): string =>
  `${text}: token ${id}, bytes ${bytes || 'none'}${bits === undefined ? '' : `, ${bits.toFixed(2)} bits`}`;

/** From 0, expected, to 4: surprise per byte, so that long tokens and short ones compare. */
const heat = ({ bits = 0, start, end }: ShownToken): number =>
  Math.min(4, Math.floor(bits / Math.max(1, end - start) / 2));

export function Tokens({ tokens, label }: { tokens: readonly ShownToken[]; label: string }): JSX.Element {
  const [at, setAt] = useState(-1);
  const named = tokens[at];
  return (
    <div class="strip">
      <p
        class="tokens"
        role="group"
        tabIndex={0}
        aria-label={`${label}; arrow keys go from token to token`}
        onKeyDown={event => {
          const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
          if (step === undefined) return;
          event.preventDefault();
          setAt(Math.max(0, Math.min(tokens.length - 1, at + step)));
        }}
        onPointerOver={event => {
          const i = (event.target as HTMLElement).dataset.i;
          if (i !== undefined) setAt(Number(i));
        }}
      >
        {tokens.map((token, i) => (
          <span
            key={i}
            data-i={i}
            data-start={token.start}
            data-end={token.end}
            class={`token ${token.bits === undefined ? `t${i % 4}` : `heat${heat(token)}`}${i === at ? ' at' : ''}`}
          >
            {token.text}
          </span>
        ))}
      </p>
      <p class="named" aria-live="polite">
        {named ? describe(named) : ' '}
      </p>
    </div>
  );
}

/** Strips of one text: a token lights up those of the other strips that cover the same bytes. */
export function Strips({ children }: { children: JSX.Element | JSX.Element[] }): JSX.Element {
  const root = useRef<HTMLDivElement>(null);
  useEffect(() => mountSample(root.current!), []);
  return (
    <div ref={root} class="two sample">
      {children}
    </div>
  );
}
