/**
 * Mix two values: numbers in proportion, lists and objects part by part. What does not
 * mix, such as a text, is the later one.
 *
 * @param {any} before
 * @param {any} after
 * @param {number} part 0 is `before`, 1 is `after`; above 1 the change goes on
 * @returns {any}
 */
export function mix(before: any, after: any, part: number): any;
/** When to draw which tick, learnt from when states arrive. */
export class TickClock {
    /**
     * @param {number} hz ticks per second
     * @param {{least?: number, most?: number}} [bounds] of the drawing delay, milliseconds. Between them it is the
     *   largest delay of the latest states, plus one and a half ticks, so that one state can be lost.
     */
    constructor(hz: number, { least, most }?: {
        least?: number;
        most?: number;
    });
    /** Milliseconds per tick. */
    step: number;
    least: number;
    most: number;
    /**
     * A state arrived.
     *
     * @param {number} tick
     * @param {number} now
     */
    arrived(tick: number, now: number): void;
    /**
     * The moment to draw: nearly always there is a state before it, and one after.
     *
     * @param {number} now
     */
    tickAt(now: number): number;
    /**
     * The moment whose state would arrive now, had it the shortest delay.
     *
     * @param {number} now
     */
    newestAt(now: number): number;
    #private;
}
/**
 * What others did, between two states.
 *
 * @template State
 */
export class Interpolator<State> {
    /**
     * @param {TickClock} clock
     * @param {(before: State, after: State, part: number, ticks: number) => State} [mixer] mixes two states that are
     *   so many ticks apart, such as `mix`; `part` is above 1 where the movement goes on beyond the newest
     */
    constructor(clock: TickClock, mixer?: (before: State, after: State, part: number, ticks: number) => State);
    clock: TickClock;
    mixer: (before: State, after: State, part: number, ticks: number) => State;
    /**
     * A state arrived, which the clock knows.
     *
     * @param {number} tick
     * @param {State} state
     */
    add(tick: number, state: State): void;
    /**
     * What to draw; null before the first state.
     *
     * @param {number} now
     * @returns {State | null}
     */
    at(now: number): State | null;
    #private;
}
/**
 * What you do, drawn where the server will have it when your input of this moment arrives
 * there: the newest state, with the inputs that it does not answer applied again.
 *
 * @template {Record<string, any>} Body
 * @template Input
 */
export class Predictor<Body extends Record<string, any>, Input> {
    /**
     * @param {(body: Body) => Body} step moves a body by one tick, as the game does
     * @param {(body: Body, input: Input) => Body} apply what an input changes
     * @param {TickClock} clock
     * @param {{fields?: string[], far?: number, most?: number, half?: number}} [options] `fields` of the body are
     *   corrected smoothly, unless it was moved `far`; what is drawn is at most so many ticks ahead; the half-life of
     *   a correction, milliseconds
     */
    constructor(step: (body: Body) => Body, apply: (body: Body, input: Input) => Body, clock: TickClock, { fields, far, most, half }?: {
        fields?: string[];
        far?: number;
        most?: number;
        half?: number;
    });
    step: (body: Body) => Body;
    apply: (body: Body, input: Input) => Body;
    clock: TickClock;
    fields: string[];
    far: number;
    most: number;
    half: number;
    /**
     * You acted.
     *
     * @param {Input} input
     * @param {number} number `room.acted`
     * @param {number} now
     */
    act(input: Input, number: number, now: number): void;
    /**
     * A state arrived, which the clock knows.
     *
     * @param {number} tick
     * @param {Body | null} body yours; null if you have none
     * @param {number} acked `room.acked`
     * @param {number} now
     */
    confirm(tick: number, body: Body | null, acked: number, now: number): void;
    /**
     * The moment that is drawn.
     *
     * @param {number} now
     */
    tickAt(now: number): number;
    /**
     * Your body to draw; null if you have none.
     *
     * @param {number} now
     * @returns {Body | null}
     */
    at(now: number): Body | null;
    #private;
}
