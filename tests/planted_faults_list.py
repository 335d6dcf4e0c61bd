"""The faults of planted_faults.py: what is wrong, in which rooms its line is looked for, and which tests should notice.

A selection names folders of tests, and of these the tests whose name, or whose file's name, holds one of the words:
words for what a test is about, which a move of files leaves as they are. A folder that a tree does not have is left
out.
A fault whose line has been rewritten gets a second pair of snippet and replacement; the first that is found is planted.
"""

from __future__ import annotations

from dataclasses import dataclass

ROOMS = ("activations", "manifold", "gans", "diffusion", "tts", "concepts", "workbench", "storage")


@dataclass(frozen=True)
class Tests:
    """Folders of tests, and pytest's ``-k`` among them (empty: all)."""

    folders: tuple[str, ...]
    names: str = ""

    def __str__(self) -> str:
        return f"{' '.join(self.folders)}{f' -k {self.names!r}' if self.names else ''}"


@dataclass(frozen=True)
class Fault:
    """One wrong line. `edits` are pairs of a snippet and what takes its place; white space in them does not matter."""

    name: str
    rooms: tuple[str, ...]
    tests: Tests
    edits: tuple[tuple[str, str], ...]


def _among(folder: str, names: str) -> Tests:
    return Tests((folder,), names)


def _fault(name: str, rooms: str, tests: Tests, *lines: str) -> Fault:
    """Rooms as words; lines as snippet, replacement, and so on in turn."""
    return Fault(name, tuple(rooms.split()), tests, tuple(zip(lines[::2], lines[1::2], strict=True)))


_EDITS = _among("activations", "edits or formula or every_bit or in_place")
_ATTACH = _among("activations", "attach or after_an_error or leaves_no_hook or nothing_is_retained or record")
_STATISTICS = _among("activations", "statistics or quantiles or however_they_are_cut")
_CORRECTION = _among("activations", "correction and not file or gate or weights_are_refused or another_dtype")
_WRITING = Tests(("storage", "manifold", "activations"), "atomic or old_file or full_disk or two_writers or old_one")

_LEFTOVERS = _among("storage", "leftovers")

_CIRCUITS = Tests(("concepts/circuits",))
_ATTRIBUTIONS = Tests(("concepts/attributions",))
_LOOP = Tests(("concepts/loop",))
_REGIONS = Tests(("concepts/regions",))

_BALLS = _among("manifold", "oracle or hand_example or float64_loop or every_array or tells_precision")
_ENGINES = _among("manifold", "engine or screen or bound or block_sizes")
_ESTIMATED = _among("manifold", "oracle or interval or resampled or calibration or expected or probabilities")
_WHOLE_SETS = _among("manifold", "kid or vendi or whole_sets or squared_mmd")
_REGION = _among("manifold", "normal_region and not file or smallest_move or nearest or gaps")
_SHARDS = _among("manifold", "shards or sharded or merges_by_hand or any_grouping")
_PIECES = Tests(("storage", "manifold"), "pieces or other_inputs or digest")
_FEATURES = _among("manifold", "cache or content or unpickled or pickle or pipeline or preprocessing")

_GATED = _among("gans", "corrected or rung or gate or giving_up")
_DETECTION = _among("gans", "detection or flagged or in_own_standard_deviations or own_samples or brute_force")
_RARE = _among("gans", "rare_activation or rare_set or whitening or whitened or papers_sum or by_hand")
_TAIL = _among("gans", "tail or broken or learned_score or suspicion")
_LADDER = _among("gans", "test_gans_correction or log_ratio or stop_rule or rungs")
_CORRECTORS = _among("gans", "correctors_interface or truncation or by_hand")
_DISSECTION = _among("gans", "dissection_agreement or agreement or pooled or causes or causal or plain_loop")
_BOUNDARIES = _among("gans", "boundaries or region or bouncing or hit_and_run")
_GENERATOR = _among("gans", "generator or seed_and_number or forward_pass or soft_logistic or sample_edits")

_FILTERS = _among("diffusion", "low_pass or definition or amplify or only_the_band or control_bands")
_GUIDANCE = _among("diffusion", "guidance or rows or second_half or noise_levels or window")
_BASELINES = _among("diffusion", "cads or freeu")
_SEARCH = _among("diffusion", "search and not embedded or novelty or known or seed_and_prompt or usable")

_DIAGNOSIS = _among("tts", "reference or diagnosis or pmi or places or base_rate")
_REPAIR = _among("tts", "repair or psi or local_center or heard_as_better or lowest_judgement")
_ALIGNMENT = _among("tts", "alignment or skipped or durations or repeats or attention")
_ERRORS = _among("tts", "error_rates or edit_distance or comparisons or pairs or differences")
_VOICES = _among("tts", "transformers_voices or vits or seed")

_SPEAK = _among("workbench", "speak or ranked")
_SCORE = _among("workbench", "score and not correct")
_COMMANDS = _among("workbench", "commands or interrupted or checkpoint or model_options")
_TABLES = Tests(("storage", "workbench"), "tables or commands")
_SHARED = Tests(("storage",), "hub")

FAULTS = (
    # activations
    _fault("edit-wrong-sign", "activations", _EDITS,
           "_along_units(1 + amount * self._change.to(output.device, dtype), output)",
           "_along_units(1 - amount * self._change.to(output.device, dtype), output)"),
    _fault("edit-wrong-unit", "activations", _EDITS,
           "return output.index_copy(1, index, scaled)", "return output.index_copy(1, index.flip(0), scaled)"),
    _fault("edit-in-place", "activations", _EDITS,
           "return output.index_copy(1, index, scaled)", "return output.index_copy_(1, index, scaled)"),
    _fault("only-positive-inverted", "activations", _EDITS,
           "chosen = chosen & (output > 0)", "chosen = chosen & (output < 0)"),
    _fault("hooks-stay-after-an-error", "activations", _ATTACH,
           "if kind is None: self.remove() else: # the error says why a layer did not run self._take_off()",
           "if kind is None: self.remove() else: # the error says why a layer did not run pass",
           "self.remove(warn=kind is None)", "kind is None and self.remove()"),
    _fault("record-leaves-its-hook", "activations", _ATTACH,
           "hooks.callback(module.register_forward_hook(hook_for(name, counted[name])).remove)",
           "module.register_forward_hook(hook_for(name, counted[name]))"),
    _fault("record-shares-memory", "activations", _ATTACH, "return result.clone()", "return result"),
    _fault("rate-counts-zeros", "activations", _STATISTICS,
           "self._add((batch > 0).sum(0), len(batch))", "self._add((batch >= 0).sum(0), len(batch))"),
    _fault("variance-without-the-shift", "activations", _STATISTICS,
           "self._squares + squares + apart.square() * (self.count * count / total)", "self._squares + squares"),
    _fault("quantile-index", "activations", _STATISTICS,
           "position = q * (total - 1)", "position = max(q * total - 1, 0.0)"),
    _fault("other-weights-pass", "activations", _CORRECTION,
           "if not same_but_for_dtype(model, self.weights_digests):", "if not self.weights_digests.values():"),
    # storage
    _fault("write-not-atomic", "manifold storage", _WRITING,
           "os.fsync(file.fileno()) os.replace(temporary, path)",
           "os.fsync(file.fileno()) path.write_bytes(temporary.read_bytes()); temporary.unlink()",
           'os.fsync(written.fileno()) os.replace(temporary, path)',
           'os.fsync(written.fileno()) path.write_bytes(temporary.read_bytes()); temporary.unlink()'),
    _fault("writers-share-a-name", "activations storage", _WRITING,
           'path.with_name(temporary_name(path))',
           'path.with_name(f".{path.stem}.tmp{path.suffix}")'),
    _fault("write-leaves-its-rest", "activations storage", _WRITING,
           "os.replace(temporary, path) except BaseException: with suppress(OSError): temporary.unlink() raise "
           "_sync_folder(path.parent)",
           "os.replace(temporary, path) except BaseException: with suppress(OSError): pass raise "
           "_sync_folder(path.parent)"),
    _fault("living-writers-count-as-dead", "storage", _LEFTOVERS,
           "return not _lives(int(process))", "return True"),
    _fault("dead-writers-count-as-living", "storage", _LEFTOVERS,
           "except ProcessLookupError: return False", "except ProcessLookupError: return True"),
    _fault("young-files-of-other-machines-go", "storage", _LEFTOVERS,
           "entry.stat(follow_symlinks=False).st_mtime > _DAY", "entry.stat(follow_symlinks=False).st_mtime > 0"),
    _fault("other-peoples-files-go", "storage", _LEFTOVERS,
           "_TEMPORARY.fullmatch(entry.name)", "_TEMPORARY.match(entry.name)"),
    _fault("pictures-of-another-run-are-taken", "gans", Tests(("workbench",), "took_over"),
           'part["written"].tobytes().decode() != store.digest(rows)', "store.digest(rows) == ''"),
    _fault("digest-ignores-dtype", "manifold storage", _PIECES,
           'f"array {part.shape} {part.dtype.str};"', 'f"array {part.shape};"'),
    _fault("pieces-ignore-their-inputs", "manifold storage", _PIECES,
           "digest(_FORMAT, description, n_rows, *inputs)", "digest(_FORMAT, description, n_rows)"),
    _fault("pieces-computed-again", "manifold storage", _PIECES,
           "piece = None if path is None else _read(path)", "piece = None",
           'piece = _read_piece(path) if self.resume else None',
           'piece = None'),
    # manifold
    _fault("closed-ball", "manifold", _BALLS,
           "return distances <= radii if closed else distances < radii",
           "return distances < radii if closed else distances < radii"),
    _fault("open-ball", "manifold", _BALLS,
           "return distances <= radii if closed else distances < radii",
           "return distances <= radii if closed else distances <= radii"),
    _fault("kth-neighbour", "manifold", _BALLS,
           "return nearest[:, np.asarray(several) - 1]", "return nearest[:, np.maximum(np.asarray(several) - 2, 0)]"),
    _fault("own-neighbour", "manifold", _ENGINES,
           "exclude(bounds, own, own) # not one's own neighbour, by index",
           "exclude(bounds, own[:0], own[:0]) # not one's own neighbour, by index"),
    _fault("distances-squared", "manifold", _BALLS, "return np.sqrt(squared, out=squared)", "return squared"),
    _fault("bound-above-the-distance", "manifold", _ENGINES,
           "lowered = (norms * (1 - relative)).astype(np.float32)",
           "lowered = (norms * (1 + relative)).astype(np.float32)"),
    _fault("density-not-over-k", "manifold", _BALLS,
           '"density": lambda mean: mean["balls"] / mean["k"],', '"density": lambda mean: mean["balls"],'),
    _fault("recall-is-precision", "manifold", _BALLS,
           '"recall": lambda mean: mean["recalled"],', '"recall": lambda mean: mean["inside"],'),
    _fault("coverage-of-clipped-radii", "manifold", _BALLS,
           "np.add.at(tallies.query_count, j[inside], 1)",
           "np.add.at(tallies.query_count, j[is_within(distances, balls.clipped[j], balls.closed)], 1)"),
    _fault("recall-of-the-reference-radii", "manifold", _BALLS,
           "reached = is_within(distances, balls.query_radii[i], balls.closed)",
           "reached = is_within(distances, balls.radii[j], balls.closed)"),
    _fault("rarity-largest-ball", "manifold", _BALLS,
           'by_radius = np.argsort(radii, kind="stable")', 'by_radius = np.argsort(-radii, kind="stable")'),
    _fault("rarity-outside-zero", "manifold", _BALLS,
           '"rarity": np.append(balls.radii, np.nan)[nearest],', '"rarity": np.append(balls.radii, 0.0)[nearest],'),
    _fault("manifold-rarity-outside-zero", "manifold", _BALLS,
           "rarity=np.append(self.radii_, np.nan)[ball],", "rarity=np.append(self.radii_, 0.0)[ball],",
           "rarity=np.append(balls.radii, np.nan)[ball],", "rarity=np.append(balls.radii, 0.0)[ball],"),
    _fault("realism-median", "manifold", _BALLS, "below = radii < median", "below = radii <= median"),
    _fault("clipped-at-the-mean", "manifold", _BALLS,
           "return np.minimum(radii, np.median(radii))", "return np.minimum(radii, np.mean(radii))"),
    _fault("percentile-of-ties", "manifold", _BALLS,
           'np.searchsorted(known, rarity, side="right")', 'np.searchsorted(known, rarity, side="left")'),
    _fault("expected-coverage-one-short", "manifold", _ESTIMATED,
           "for j in range(1, k + 1): empty *= (n - j) / (n + m - j)",
           "for j in range(1, k): empty *= (n - j) / (n + m - j)"),
    _fault("kid-biased", "manifold", _WHOLE_SETS,
           "return float(kernel.sum()) / (len(x) * (len(x) - 1))", "return float(kernel.sum()) / (len(x) * len(x))"),
    _fault("gap-wrong-sign", "manifold", _REGION,
           "best.add(i, j, distances - radii[j])", "best.add(i, j, distances + radii[j])"),
    _fault("region-quantile", "manifold", _REGION,
           'np.quantile(manifold.radii_, quantile, method="inverted_cdf")',
           'np.quantile(manifold.radii_, quantile, method="lower")'),
    _fault("step-outwards", "manifold", _REGION,
           "* (shares[left, None] * (1 - depth))", "* (shares[left, None] * (1 + depth))"),
    _fault("shards-merged-by-maximum", "manifold", _SHARDS, '"ratio": np.minimum,', '"ratio": np.maximum,'),
    _fault("cache-ignores-preprocessing", "manifold storage", _FEATURES,
           'return sha256_of_json({name: value for name, value in pipeline.items() if name != "engine"})',
           'return sha256_of_json(pipeline.get("extractor"))'),
    _fault("weights-unpickled", "manifold", _FEATURES,
           'return torch.load(path, map_location="cpu", weights_only=True)',
           'return torch.load(path, map_location="cpu", weights_only=False)'),
    # gans
    _fault("gate-inverted", "gans", _GATED,
           "needs = gate_before > self._gate.threshold if self.gated",
           "needs = gate_before < self._gate.threshold if self.gated"),
    _fault("given-up-ignored", "gans", _GATED,
           "given_up = needs & (rung_of == UNTOUCHED)", "given_up = needs & (rung_of > len(rung_of))"),
    _fault("stop-rule-inverted", "gans", _GATED,
           "climbing = climbing[lowest[climbing] >", "climbing = climbing[lowest[climbing] <"),
    _fault("last-rung-wins", "gans", _GATED,
           "better = self._is_normal(gate_score, manifold_score) & (gate_score < lowest[climbing])",
           "better = self._is_normal(gate_score, manifold_score)",
           'better = self._stop_rule.is_normal(gate_score, manifold_score) & (gate_score < lowest[climbing])',
           'better = self._stop_rule.is_normal(gate_score, manifold_score)'),
    _fault("detector-distance-sign", "gans", _DETECTION,
           "(weighted_rare + (other - other_mean) / other_std)",
           "(weighted_rare - (other - other_mean) / other_std)"),
    _fault("own-sample-its-own-neighbour", "gans", _DETECTION,
           "distance[normal] = self.manifold_.radii_",
           "distance[normal] = self._distance(self.own_features_[normal])"),
    _fault("threshold-lower-quantile", "gans", _DETECTION,
           "return float(np.quantile(scores, 1 - share))", "return float(np.quantile(scores, share))"),
    _fault("null-from-the-upper-half", "gans", _TAIL,
           "below = scores[scores <= mode]", "below = scores[scores >= mode]"),
    _fault("suspects-from-the-bottom", "gans", _TAIL,
           "top = suspicious > np.quantile(suspicious, 1 - SUSPECTS)",
           "top = suspicious < np.quantile(suspicious, SUSPECTS)"),
    _fault("never-active-is-rare", "gans", _RARE,
           "(self.rates_[layer] > 0) & (self.rates_[layer] <= rate)",
           "(self.rates_[layer] >= 0) & (self.rates_[layer] <= rate)"),
    _fault("whitening-not-centred", "gans", _RARE,
           "return (features.to(dtype) - mean) @ projection", "return features.to(dtype) @ projection"),
    _fault("rare-diversity-sign", "gans", _RARE, "- self.diversity * apart", "+ self.diversity * apart",
           "- objective.diversity * apart", "+ objective.diversity * apart"),
    _fault("contrast-upside-down", "gans", _LADDER,
           "torch.log((broken_rate[layer].rate + 0.01) / (normal_rate[layer].rate + 0.01))",
           "torch.log((normal_rate[layer].rate + 0.01) / (broken_rate[layer].rate + 0.01))"),
    _fault("descent-uphill", "gans", _among("gans", "contrast_descent"),
           "math.sin(descent.step) * across)", "math.sin(-descent.step) * across)"),
    _fault("gate-at-another-quantile", "gans", _LADDER,
           "float(np.quantile(normal_scores, quantile))", "float(np.quantile(normal_scores, 1 - quantile))"),
    _fault("truncation-psi-swapped", "gans", _CORRECTORS,
           "return mean + self.psi * (latents - mean)", "return mean + (1 - self.psi) * (latents - mean)"),
    _fault("iou-over-the-sum", "gans", _DISSECTION,
           "either = self.unit + self.concept - self.both", "either = self.unit + self.concept"),
    _fault("boundary-sign", "gans", _BOUNDARIES,
           "torch.where(values > 0, 1.0, -1.0)", "torch.where(values > 0, -1.0, 1.0)"),
    _fault("margin-outwards", "gans", _BOUNDARIES,
           "beyond = self.values(latents) * self.signs - self.margins",
           "beyond = self.values(latents) * self.signs + self.margins"),
    _fault("wall-absorbs", "gans", _BOUNDARIES, "v[going] -= 2 * speed * walls[hit]", "v[going] -= speed * walls[hit]"),
    _fault("own-seed", "gans", _GENERATOR,
           "key=np.array([seed, start + item], dtype=np.uint64)", "key=np.array([seed, item], dtype=np.uint64)"),
    _fault("seed-ignored", "gans", _GENERATOR,
           "key=np.array([seed, start + item], dtype=np.uint64)", "key=np.array([0, start + item], dtype=np.uint64)"),
    _fault("checkpoint-unpickled", "gans", _among("gans", "code_in_a_file or code_alone or damaged_files_say"),
           'root = torch.load(path, map_location="cpu", weights_only=True)',
           'root = torch.load(path, map_location="cpu", weights_only=False)'),
    # diffusion
    _fault("fft-odd-sizes", "diffusion", _FILTERS,
           "bins = torch.fft.fftfreq(size, 1 / size, dtype=torch.float64)",
           "bins = ((torch.arange(size) + (size + 1) // 2) % size - (size + 1) // 2).double()"),
    _fault("cutoff-included", "diffusion", _FILTERS,
           "return (distance < cutoff).to(distance.dtype)", "return (distance <= cutoff).to(distance.dtype)"),
    _fault("gain-on-the-high-band", "diffusion", _FILTERS,
           "made = with_low_change(output.to(dtype), self.band, amount * (self.gain - 1), mean_change)",
           "made = output.to(dtype) * (1 + amount * (self.gain - 1)) - with_low_change(output.to(dtype), self.band, "
           "amount * (self.gain - 1), mean_change) + output.to(dtype)"),
    _fault("guided-half-swapped", "diffusion", _GUIDANCE,
           '_HALVES: tuple[Group, ...] = ("unconditional", "conditional")',
           '_HALVES: tuple[Group, ...] = ("conditional", "unconditional")'),
    _fault("sigma-window-inverted", "diffusion", _GUIDANCE,
           "return float(self.low <= sigma <= self.high)", "return float(not self.low <= sigma <= self.high)"),
    _fault("sigma-squared", "diffusion", _GUIDANCE,
           "return float(((1 - kept) / kept) ** 0.5)", "return float((1 - kept) / kept)"),
    _fault("cads-keeps-its-hook", "diffusion", _BASELINES,
           "yield finally: handle.remove()", "yield finally: pass"),
    _fault("cads-one-noise-for-all", "diffusion", _BASELINES,
           "torch.Generator().manual_seed(self._seed + row)", "torch.Generator().manual_seed(self._seed)"),
    _fault("usability-by-the-mean", "diffusion", _SEARCH,
           "all(bound >= tau for bound in self.usability_lower.values())",
           "all(bound >= tau for bound in self.usability.values())"),
    _fault("usability-upside-down", "diffusion", _SEARCH,
           "all(bound >= tau for bound in self.usability_lower.values())",
           "all(bound <= tau for bound in self.usability_lower.values())"),
    _fault("novelty-outside-zero", "diffusion", _SEARCH,
           "found[self.real_[prompt].score_samples(features) > 1] = np.nan",
           "found[self.real_[prompt].score_samples(features) > 1] = 0.0"),
    _fault("same-seed-broken", "diffusion", _SEARCH,
           "generators = [torch.Generator().manual_seed(seed) for _, seed in batch]",
           "generators = [torch.Generator().manual_seed(seed + i) for i, (_, seed) in enumerate(batch)]"),
    _fault("known-scores-drawn-again", "diffusion storage", _SEARCH,
           "missing = [seed for seed in dict.fromkeys(map(int, seeds)) if str(seed) not in known]",
           "missing = list(dict.fromkeys(map(int, seeds)))",
           'missing = [key for key in dict.fromkeys(keys) if key not in known or not self.resume]',
           'missing = list(dict.fromkeys(keys))'),
    # tts
    _fault("diagnosis-next-token", "tts", _DIAGNOSIS,
           'np.flatnonzero([state == "outside" for state in self.states])',
           'np.flatnonzero([state == "outside" for state in self.states]) + 1'),
    _fault("place-next-symbol", "tts", _DIAGNOSIS,
           "int(kept[s].spoken[:t].sum())", "int(kept[s].spoken[: t + 1].sum())"),
    _fault("on-the-sphere-is-outside", "tts", _DIAGNOSIS,
           'return "inside" if score <= 1 else "outside"', 'return "inside" if score < 1 else "outside"'),
    _fault("base-rate-of-the-learnt", "tts", _DIAGNOSIS,
           "held, kept = [unique[i] for i in order[:n_held]], [unique[i] for i in order[n_held:]]",
           "held, kept = [unique[i] for i in order[-n_held:]], [unique[i] for i in order[n_held:]]"),
    _fault("pmi-natural-log", "tts", _DIAGNOSIS,
           "return log2(both * self._total / (self._first[first] * self._second[second]))",
           "return float(np.log(both * self._total / (self._first[first] * self._second[second])))"),
    _fault("pmi-denominator", "tts", _DIAGNOSIS,
           "(self._first[first] * self._second[second])", "(self._first[first] * self._first[second])"),
    _fault("repair-moves-what-is-inside", "tts", _REPAIR,
           "for i in np.flatnonzero(scores > 1).tolist()", "for i in np.flatnonzero(scores > 0).tolist()"),
    _fault("repair-psi-swapped", "tts", _REPAIR,
           "repaired[i] = middle + np.float32(psi) * (vectors[i] - middle)",
           "repaired[i] = vectors[i] + np.float32(psi) * (middle - vectors[i])"),
    _fault("repair-margin-sign", "tts", _REPAIR,
           "return after.log_probability > before.log_probability + margin",
           "return after.log_probability > before.log_probability - margin"),
    _fault("worst-of-many", "tts", _REPAIR,
           "return min(said, key=lambda one: judge(tokens, one[1]))",
           "return max(said, key=lambda one: judge(tokens, one[1]))"),
    _fault("skips-of-silent-tokens", "tts", _ALIGNMENT,
           "skipped=positions(sounding & ~reached),", "skipped=positions(~reached),"),
    _fault("repeat-one-token-back", "tts", _ALIGNMENT,
           "if window.max() < furthest - 1:", "if window.max() < furthest:"),
    _fault("substitution-costs-two", "tts", _ERRORS,
           "paired = above[j - 1] + (reference[i - 1] != heard[j - 1])",
           "paired = above[j - 1] + 2 * (reference[i - 1] != heard[j - 1])"),
    _fault("before-minus-after", "tts", _ERRORS, "change = now - was", "change = was - now"),
    _fault("duration-scaled-twice", "tts", _VOICES,
           'torch.exp(outputs["duration_predictor"]) * (1.0 / rate)',
           'torch.exp(outputs["duration_predictor"]) * rate'),
    _fault("noise-not-set-back", "tts", _VOICES,
           "yield finally: self.model.noise_scale, self.model.noise_scale_duration = before",
           "yield finally: pass"),
    _fault("reading-seed-ignored", "tts", _VOICES,
           "torch.default_generator.manual_seed(seed)", "torch.default_generator.manual_seed(0)"),
    # concepts
    _fault("negative-interactions-counted", "concepts", _ATTRIBUTIONS,
           "above[i, j] = (weight[sizes[sets]] * interaction.clip(0)).sum()",
           "above[i, j] = (weight[sizes[sets]] * interaction).sum()"),
    _fault("sampled-negative-interactions-counted", "concepts", _ATTRIBUTIONS,
           "above[hidden, order[shown - 1]] = change.clip(0)", "above[hidden, order[shown - 1]] = change"),
    _fault("masks-in-the-wrong-order", "concepts", _ATTRIBUTIONS,
           "progress * strong.to(local.dtype) + (1 - progress) * tame.to(local.dtype)",
           "(1 - progress) * strong.to(local.dtype) + progress * tame.to(local.dtype)"),
    _fault("bias-not-spread", "concepts", _ATTRIBUTIONS,
           'if self.bias == "none": return local', 'if self.bias != "layers": return local'),
    _fault("pixels-in-the-wrong-order", "concepts", _LOOP,
           "argsort(dim=1, descending=most_first, stable=True)",
           "argsort(dim=1, descending=not most_first, stable=True)"),
    _fault("tuned-where-chosen", "concepts", _LOOP,
           "return np.sort(order[: n // 2]), np.sort(order[n // 2 :])",
           "return np.sort(order[: n // 2]), np.sort(order[: n // 2])"),
    _fault("every-effect-significant", "concepts", _CIRCUITS,
           "[false_discovery_control(row) <= false_share for row in chance]",
           "[false_discovery_control(row) <= 1 for row in chance]"),
    _fault("control-of-silent-units", "concepts", _CIRCUITS,
           "np.concatenate([rng.permutation(first), rng.permutation(rest)])",
           "np.concatenate([rng.permutation(rest), rng.permutation(first)])"),
    _fault("smallest-effects-kept", "concepts", _CIRCUITS, "largest[np.argsort(-values", "largest[np.argsort(values"),
    _fault("steps-taken-for-units", "concepts", _CIRCUITS,
           "return 1 if flat and width == output.shape[1] else 2", "return 2"),
    _fault("soft-rule-one-more", "concepts", _REGIONS,
           "self.agreeing(samples) >= self.at_least", "self.agreeing(samples) > self.at_least"),
    _fault("lowest-pixels-marked", "concepts", _among("concepts", "explanation_masks"),
           'np.argsort(-flat, axis=1, kind="stable")', 'np.argsort(flat, axis=1, kind="stable")'),
    # workbench
    _fault("ranking-least-risky-first", "workbench tts", _SPEAK,
           "return (-wrong[0], -wrong[1], -d.outside, -len(d.tokens.dropped), d.tokens.text)",
           "return (-wrong[0], -wrong[1], d.outside, -len(d.tokens.dropped), d.tokens.text)"),
    _fault("ranking-by-regions-first", "workbench tts", _SPEAK,
           "return (-wrong[0], -wrong[1], -d.outside, -len(d.tokens.dropped), d.tokens.text)",
           "return (-d.outside, -wrong[0], -wrong[1], -len(d.tokens.dropped), d.tokens.text)"),
    _fault("exit-code", "workbench", _SCORE,
           '_complain(f"genmend: {error.format_message()} See genmend --help, or genmend COMMAND --help.") return 2',
           '_complain(f"genmend: {error.format_message()} See genmend --help, or genmend COMMAND --help.") return 1'),
    _fault("score-seed-ignored", "workbench", _SCORE,
           "bootstrap=settings.bootstrap, seed=settings.seed,", "bootstrap=settings.bootstrap, seed=0,"),
    _fault("json-with-nan", "workbench storage", _TABLES,
           "text = json.dumps(values, indent=1, allow_nan=False)", "text = json.dumps(values, indent=1)"),
    _fault("nan-not-null", "workbench storage", _TABLES,
           "return None if isinstance(value, float) and not np.isfinite(value) else value", "return value"),
    _fault("csv-nan-as-zero", "workbench storage", _TABLES,
           '["" if np.isnan(value) else repr(float(value)) for value in values]',
           '["0.0" if np.isnan(value) else repr(float(value)) for value in values]'),
    _fault("resume-computes-again", "workbench storage", _COMMANDS,
           "if resume and path.is_file(): try:", "if not resume and path.is_file(): try:",
           'if self.resume and path.is_file(): try:',
           'if not self.resume and path.is_file(): try:'),
    _fault("key-ignores-truncation", "workbench gans storage", _COMMANDS,
           '{"weights": weights_digest(generator.module), "run": dict(generator.settings)}',
           '{"weights": weights_digest(generator.module)}'),
    _fault("npy-size-unchecked", "storage", Tests(("storage",), "numpy_files"),
           "if wanted > size - offset:", "if wanted < 0:"),
    # sharing, previews, plug-ins
    _fault("shared-name-unchecked", "storage", _SHARED,
           'if not isinstance(file, str) or not _NAME.fullmatch(file) or ".." in file:',
           "if not isinstance(file, str):"),
    _fault("shared-digest-unchecked", "storage", _SHARED,
           "elif sha256_of_file(path) != entry.sha256:", "elif sha256_of_file(path) == '':"),
    _fault("shared-size-unasked", "storage", _SHARED,
           "if about.size is None or about.size > most_bytes:", "if about.size is None:"),
    _fault("card-markup-unescaped", "storage", _SHARED,
           r"""return re.sub(r"([\\`*\[\]<>|#])", r"\\\1", one_line)""", "return one_line"),
    _fault("own-name-taken-over", "storage", Tests(("storage",), "plug_ins"),
           "if plug_in.name in reserved:", "if plug_in.name in ():"),
    _fault("control-at-the-same-places", "gans", Tests(("gans",), "preview"),
           "found = at_other_units(edit, units) or at_other_neurons(edit, neurons)", "found = edit"),
)  # fmt: skip
