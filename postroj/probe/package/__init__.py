"""What is this package file?"""
