/** The same as `apply` and `step` in snakes.py. */
const WAYS = [[1, 0], [0, 1], [-1, 0], [0, -1]];
const SPEED = 250;

export const apply = (snake, { way }) =>
  way % 2 === snake.way % 2 ? snake : { ...snake, way, body: [[snake.x, snake.y], ...snake.body] };

export function move(snake) {
  const x = snake.x + SPEED * WAYS[snake.way][0];
  const y = snake.y + SPEED * WAYS[snake.way][1];
  return { ...snake, x, y, body: trimmed(x, y, snake.body, snake.length) };
}

const within = (value, middle, far) => Math.min(Math.max(value, middle - far), middle + far);

function trimmed(x, y, body, left) {
  const kept = [];
  for (let [toX, toY] of body) {
    const far = Math.abs(toX - x) + Math.abs(toY - y);
    if (far > left) [toX, toY] = [within(toX, x, left), within(toY, y, left)];
    kept.push([toX, toY]);
    left -= far;
    if (left <= 0) break;
    [x, y] = [toX, toY];
  }
  return kept;
}

/** One tick of the game, for `vinom check --twin`: where snakes are, not who lives or eats. */
export function step({ snakes }, inputs) {
  if (snakes.some(({ alive }) => !alive)) return {};
  const after = [...snakes];
  for (const { seat, action } of inputs) after[seat] = apply(after[seat], action);
  return { snakes: after.map(move).map(({ x, y, way, body }) => ({ x, y, way, body })) };
}
