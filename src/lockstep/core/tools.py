"""The files beside encoded images and beside weights that sampling takes."""

# What turns latents into images, prompts into rows, and names into labels.
TOOLS = ("autoencoder.json", "autoencoder.safetensors", "tokenizer.json", "names.json")
