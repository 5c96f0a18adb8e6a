/**
 * Methods of `Tensor`, so that formulas read from left to right: `x.matmul(w).add(b).gelu()`.
 *
 * `tensor.ts` imports no operation. Each file of `ops/` lists its functions once, and that list gives both their names
 * as methods (`addMethods`) and the types (`Methods`), by module augmentation:
 *
 *     const methods = { exp, log, add };
 *     declare module '../tensor.ts' {
 *       interface Tensor extends Methods<typeof methods> {}
 *     }
 *     addMethods(methods);
 *
 * So `exp(x)` and `x.exp()` are the same function. A function that takes a method's place must state its type: a type
 * that TypeScript infers from a formula would depend on the methods, which depend on that type.
 */
import { Tensor } from './tensor.ts';

/** The functions of F as methods of their first argument. */
export type Methods<F> = {
  [K in keyof F]: F[K] extends (x: never, ...rest: infer R) => infer Y ? (...rest: R) => Y : never;
};

/** Makes each function a method of its first argument. */
export function addMethods(functions: Readonly<Record<string, (x: Tensor, ...rest: never[]) => unknown>>): void {
  for (const [name, fn] of Object.entries(functions)) {
    if (name in Tensor.prototype) throw new Error(`Tensor has a method ${name} already`);
    Object.defineProperty(Tensor.prototype, name, {
      value(this: Tensor, ...rest: never[]) {
        return fn(this, ...rest);
      },
    });
  }
}
