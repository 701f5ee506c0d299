"""x"""



def run(x: int = 1) -> None:
    "generate"
